"""The tutorial's cells run in their order, on less data and with fewer steps than in the notebook."""

import json
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / "docs/tutorial.ipynb"
MAX_BYTES = 400_000  # bytes of the notebook with its outputs

# Jupyter is not installed in the tests: files that it would show are only checked to be there.
DISPLAY = """
import sys, types

def shown(file, *args, **options):
    assert file.stat().st_size

sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython.display"] = display = types.ModuleType("IPython.display")
display.Image = display.Video = shown
"""


def test_all_cells_run(tmp_path):
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    shorter = {
        'Path("runs/tutorial")': f"Path({str(tmp_path)!r})",
        "PEOPLE, STEPS = 8, 60": "PEOPLE, STEPS = 1, 2",
        "--output {WORK}/report": "--limit 4 --output {WORK}/report",
    }
    for long, short in shorter.items():
        assert long in program
        program = program.replace(long, short)
    done = subprocess.run([sys.executable, "-c", DISPLAY + program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert "said:" in done.stdout and (tmp_path / "report/report.html").exists()


def test_the_notebook_is_small_and_shows_its_outputs():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert all(cell["outputs"] or cell is cells[1] for cell in cells if cell["cell_type"] == "code")
    assert NOTEBOOK.stat().st_size < MAX_BYTES
