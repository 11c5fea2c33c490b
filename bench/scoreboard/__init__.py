"""The scoreboard: how good detection is, measured beside other detectors; `python -m bench.scoreboard`."""
