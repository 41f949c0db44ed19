"""``python -m fcl.cli`` is the command ``fcl``."""

from fcl.cli.main import app

app(prog_name="fcl")
