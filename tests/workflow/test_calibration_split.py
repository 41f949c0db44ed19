"""calibration.split decides which structures calibrate: training ones in the paper, validation ones on request."""

from dry_runs import snakemake

COUNT = 4  # calibrations of the smoke study


def test_the_split_decides_which_store_a_calibration_reads(finished):
    """After a run on the training split, the validation split is another input of the calibrations."""
    for split, expected in (("train", 0), ("val", COUNT)):
        override = f'studies={{"smoke": {{"calibration": {{"split": "{split}"}}}}}}'
        done = snakemake(finished, "--dry-run", "calibrate_all", "--config", "study=smoke", override)
        assert done.returncode == 0, done.stdout
        assert done.stdout.count("Set of input files has changed since last execution") == expected
        assert done.stdout.count("Optimising the cutoffs for") == expected
