"""Movies: what was drawn is seen, in both formats; what cannot be written is one sentence and leaves nothing."""

from pathlib import Path

import numpy as np
import pytest

from mldsim.errors import InputError, WorkFailed
from mldsim.movies import KINDS, MovieFile, check_movie
from mldsim.trajectory.recorder import Recorder

WIDTH, HEIGHT, RATE = 96, 64, 30


def picture(number: int) -> np.ndarray:
    """Grey, with a red bar that grows."""
    drawn = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    drawn[:, : 4 * number] = (210, 40, 40)
    return drawn


def decoded(path: Path) -> tuple[list[np.ndarray], float]:
    """Pictures of a movie, and how long it is, seconds."""
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            return pictures, float(stream.duration * stream.time_base)
    from PIL import Image

    pictures, length = [], 0.0
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            pictures.append(np.array(image.convert("RGB")))
            length += image.info["duration"] / 1000
    return pictures, length


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_in_the_movie_for_as_long_as_the_rate_says(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"water{kind}"
    movie = MovieFile(path, WIDTH, HEIGHT, RATE)
    for number in range(20):
        movie.write(picture(number))
    assert not path.exists()
    movie.close()
    movie.close()
    pictures, length = decoded(path)
    assert len(pictures) == 20
    for number, seen in enumerate(pictures):
        np.testing.assert_allclose(seen.astype(int)[8:-8], picture(number).astype(int)[8:-8], atol=40)
        assert np.abs(seen.astype(int) - picture(number)).mean() < 6
    assert length == pytest.approx(20 / RATE, abs=0.011)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_a_movie_that_is_stopped_is_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"water{kind}"
    recorder = Recorder(MovieFile(path, WIDTH, HEIGHT, RATE), 4)
    for number in range(3):
        recorder.put(picture(number))
    recorder.close()
    assert recorder.written == len(decoded(path)[0]) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_picture_there_is_no_movie(tmp_path: Path, kind: str) -> None:
    movie = MovieFile(tmp_path / f"water{kind}", WIDTH, HEIGHT, RATE)
    with pytest.raises(WorkFailed, match="no picture"):
        movie.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    movie = MovieFile(tmp_path / f"water{kind}", WIDTH, HEIGHT, RATE)
    movie.write(picture(1))
    with pytest.raises(WorkFailed, match="could not be written"):
        movie.write(np.zeros((3, 5, 7), np.uint8))
    movie.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "size", "rate", "told"),
    [
        ("water.avi", (96, 64), 30, "ends in .mp4 or .gif"),
        ("water.mp4", (97, 64), 30, "even number"),
        ("water.gif", (96, 10000), 30, "16 to 8192"),
        ("water.gif", (96, 64), 60, "1 to 50 pictures"),
        ("water.mp4", (96, 64), 0, "1 to 120 pictures"),
    ],
)
def test_what_cannot_be_a_movie_is_refused_before_it_is_drawn(
    tmp_path: Path, name: str, size: tuple[int, int], rate: int, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        check_movie(tmp_path / name, *size, rate)


def test_where_mp4_cannot_be_made_one_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"mldsim\[movie\]"):
        check_movie(tmp_path / "water.mp4", WIDTH, HEIGHT, RATE)
    check_movie(tmp_path / "water.gif", WIDTH, HEIGHT, RATE)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="could not be written"):
        MovieFile(tmp_path / "no" / "water.gif", WIDTH, HEIGHT, RATE)
