"""Snakemake's own report: made offline from committed results, and shown without asking the network for anything."""

import html
import json
import re
import shutil
import subprocess

import pytest

from dry_runs import ROOT, copy_workflow, snakemake

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=60000", "--dump-dom",
)  # fmt: skip
# The page may load nothing but what is inside itself; what it tries all the same is written down.
POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src data: blob: 'unsafe-inline' 'unsafe-eval'\">"
    "<script>var refused = []; document.addEventListener('securitypolicyviolation', "
    "event => refused.push(event.blockedURI));</script>"
)
# Opens every result as a click does, and leaves on the page what was then to be seen.
TOUR = """<script>
window.addEventListener("load", async () => {
    const pause = () => new Promise(done => setTimeout(done, 500)), shown = {};
    await pause();
    const graph = document.querySelectorAll("#rulegraph canvas, #rulegraph svg.marks").length;
    for (const [path, entry] of Object.entries(results)) {
        const image = entry.mime_type.startsWith("image/");
        app.setView({content: image ? "img" : "html", contentPath: entry.data_uri, resultPath: path});
        await pause();
        const element = [...document.querySelectorAll("img, iframe")].find(node => node.src === entry.data_uri);
        shown[path] = !element ? 0 : image ? element.naturalWidth : element.clientWidth;
    }
    app.setView({content: "stats"});
    await pause();
    const loaded = performance.getEntriesByType("resource").map(entry => entry.name);
    const network = loaded.filter(name => !/^(data|blob):/.test(name));
    const outcome = document.createElement("pre");
    outcome.id = "outcome";
    outcome.textContent = JSON.stringify({graph, shown, network, refused});
    document.body.replaceChildren(outcome);
});
</script>"""

pytestmark = pytest.mark.slow  # draws all of a study; the black-box tests draw another one in every run


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of the mini study, drawn from its record in a copy that has what a clone has."""
    folder = copy_workflow(tmp_path_factory.mktemp("report"))
    shutil.copytree(ROOT / "record/mini", folder / "record/mini")
    for arguments in ((), ("--report", "results/mini/report.html")):
        done = snakemake(folder, *arguments, "--config", "study=mini", "from_record=true")
        assert done.returncode == 0, done.stdout
    return folder / "results/mini/report.html"


def test_pictures_of_the_record_are_those_drawn_from_it(page):
    """Byte for byte, on any machine with the versions of requirements.lock."""
    pictures = sorted((ROOT / "record/mini/figures").glob("*.png"))
    assert len(pictures) == 3
    for picture in pictures:
        assert (page.parent / "figures" / picture.name).read_bytes() == picture.read_bytes(), picture.name
    for name in ("claims.csv", *(f"tables/{path.name}" for path in (ROOT / "record/mini/tables").glob("*.csv"))):
        assert (page.parent / name).read_bytes() == (ROOT / "record/mini" / name).read_bytes(), name


def value_of(page, name):
    """A JSON value that the report's scripts work with."""
    start = re.search(rf'<script id="{name}">\s*var {name} = ', page).end()
    return json.JSONDecoder().raw_decode(page[start:])[0]


def test_it_holds_claims_figures_and_tables_with_captions(page):
    text = page.read_text(encoding="utf-8")
    categories, results = value_of(text, "categories"), value_of(text, "results")
    assert sorted(categories) == ["Claims", "Figures", "Tables"]  # shown in this order
    figures = [path for path in results if path.endswith(".png")]
    drawn = [f"results/mini/figures/{path.name}" for path in page.parent.glob("figures/*.png")]
    assert sorted(figures) == [*sorted(drawn), "results/mini/training.png"]
    tables = {"labels", "observables", "wall_clock", *(f"table{number:02d}" for number in range(1, 5))}
    assert len(categories["Tables"][next(iter(categories["Tables"]))]) == len(tables)
    assert {"results/mini/claims.html", *(f"results/mini/tables/{name}.html" for name in tables)} <= set(results)
    for path, result in results.items():
        assert len(re.sub("<[^>]+>", "", result["caption"]).strip()) > 40, path
        assert result["labels"]["study"] == "mini"
        assert result["data_uri"].startswith("data:")
    graph = re.search(r'<script id="rulegraph">(.*?)</script>', text, flags=re.DOTALL)[1]
    # what draws from a record: no stage takes part
    assert all(f'"rule": "{rule}"' in graph for rule in ("figure_05", "report_page", "claims_table"))


def test_it_names_no_address_to_load_from(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<(script|img|iframe)[^>]* src=[\"']?(https?:)?//", text)
    assert not re.search(r"<link[^>]+href=", text)


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_browser_shows_every_result_without_the_network(page, tmp_path):
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{POLICY}", 1)
    before, after = text.rsplit("</body>", 1)
    toured = tmp_path / "report.html"
    toured.write_text(f"{before}{TOUR}</body>{after}", encoding="utf-8")
    command = [BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", toured.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="outcome">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    outcome = json.loads(html.unescape(found[1]))
    assert outcome["network"] == [] and outcome["refused"] == []
    assert outcome["graph"] == 1
    assert set(outcome["shown"]) == set(value_of(text, "results"))
    for path, width in outcome["shown"].items():
        assert width > (1000 if path.endswith(".png") else 100), path
