"""Learning from the model's own runs: run, label what it is in doubt of, fit again.

`settings` says what a loop is told, `limits` when doubt warns, `explore` runs the model, `choose` picks the frames,
`frames` and `journal` keep what there is, `theory` keeps theories apart, `pace` tells how much is done, `loop` does the
work by the means of `means`.
"""
