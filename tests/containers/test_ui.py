"""MLflow's pages of a run made on the other side: the host's shown by the container, the container's by the host."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from container_run import SEALED, WORLD, docker
from mlflow import MlflowClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
EVIL, OWN = "evil.example", "runs.example"
"""Names of the host that the server is not told, and is told, to be its own."""


@dataclass(frozen=True)
class Page:
    """A running server, and the experiment that it has to show."""

    address: str

    def get(self, path: str, host: str | None = None) -> int:
        """Status of a page, asked for under another name of the host."""
        request = urllib.request.Request(self.address + path, headers={"Host": host} if host else {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code

    def wait(self) -> None:
        for _ in range(240):
            try:
                if self.get("/health") == 200:
                    return
            except OSError:
                time.sleep(0.5)
        pytest.fail("the server does not answer /health")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def from_docker(image: str, on_host: Path) -> Iterator[Page]:
    """The container's word `ui` on a run that was made outside, which it can read and not write."""
    page, name = Page(f"http://127.0.0.1:{(port := free_port())}"), f"reinforce-lite-ui-{os.getpid()}"
    options = ("--rm", "--detach", "--name", name, "--network", "host", *SEALED, "-e", f"UI_HOSTS={OWN}")
    started = docker("run", *options, "-v", f"{on_host.parent}:/work:ro", image, "ui", "--port", str(port))
    assert started.returncode == 0, started.stdout
    try:
        page.wait()
        yield page
    finally:
        print(docker("logs", name).stdout[-2000:])
        docker("stop", "--time", "2", name)


@pytest.fixture(scope="module")
def from_host(in_docker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """What `make ui` starts, on a copy of a run that was made in the container."""
    results = Path(shutil.copytree(in_docker / "results", tmp_path_factory.mktemp("ui") / "results"))
    page = Page(f"http://127.0.0.1:{(port := free_port())}")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{results}/mlflow.db"]
    command += ["--artifacts-destination", str(results / "mlartifacts"), "--port", str(port)]
    server = subprocess.Popen(command, cwd=results.parent, start_new_session=True)
    try:
        page.wait()
        yield page
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


@pytest.fixture(params=["from_docker", "from_host"])
def page(request: pytest.FixtureRequest) -> Page:
    return request.getfixturevalue(request.param)


def training(page: Page) -> tuple[str, str]:
    """Experiment and run of a finished training."""
    client = MlflowClient(page.address)
    experiment = client.get_experiment_by_name(WORLD.name).experiment_id
    query = "tags.stage = 'train' and tags.model = 'tiny-llama' and tags.variant = 'leave_one_out'"
    run = client.search_runs([experiment], f"{query} and attributes.status = 'FINISHED'")[0]
    return experiment, run.info.run_id


def test_artifacts_are_served(page: Page, tmp_path: Path) -> None:
    _, run = training(page)
    client = MlflowClient(page.address)
    assert {file.path for file in client.list_artifacts(run)} == {"metrics.jsonl", "completions.jsonl"}
    fetched = Path(client.download_artifacts(run, "metrics.jsonl", str(tmp_path)))
    assert len(fetched.read_text().splitlines()) == WORLD.steps


def test_the_pages_open_in_a_browser(page: Page, request: pytest.FixtureRequest) -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("CHROMIUM names no browser, and none is on PATH")
    from playwright.sync_api import sync_playwright

    experiment, run = training(page)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=flags) as browser:
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        answers: list[tuple[int, str]] = []
        tab.on("response", lambda response: answers.append((response.status, response.url)))
        tab.goto(f"{page.address}/#/experiments/{experiment}/runs?workflowType=machine_learning")
        runs = len(MlflowClient(page.address).search_runs([experiment]))  # the parent, and the attempts folded below it
        tab.get_by_text(f"{runs} matching runs").wait_for(timeout=60_000)
        keep(tab, f"{request.node.callspec.id}-runs")
        tab.goto(f"{page.address}/#/experiments/{experiment}/runs/{run}/artifacts")
        tab.get_by_text("metrics.jsonl").first.click(timeout=60_000)
        tab.get_by_text("reward_mean").first.wait_for(timeout=60_000)
        keep(tab, f"{request.node.callspec.id}-artifacts")
        # MLflow's page asks for the user of a login, which this server does not have.
        ours = [(status, url) for status, url in answers if page.address in url and "users/current" not in url]
        assert ours and [answer for answer in ours if answer[0] >= 400] == []


def keep(tab, name: str) -> None:  # type: ignore[no-untyped-def]
    """A picture for people, where SCREENSHOTS says."""
    if folder := os.environ.get("SCREENSHOTS"):
        tab.screenshot(path=Path(folder) / f"{name}.png")


def test_only_its_own_names_are_answered(from_docker: Page) -> None:
    assert from_docker.get("/", host=EVIL) == 403
    assert from_docker.get("/health", host=EVIL) == 200
    assert [from_docker.get("/", host=name) for name in (OWN, f"{OWN}:8080", "localhost:5000")] == [200, 200, 200]
