"""``python -m fcl.cli`` is the command ``fcl``."""

from fcl.cli import app

app(prog_name="fcl")
