"""placeholder for the CUDA developer"""
def available():
    return False, "CUDA", "not written yet."
