"""In the browser alone: an experiment is chosen, started, watched and fetched, at the demo's real federation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.running import Running

from fedproc.demo.federation import read_env

pytestmark = [pytest.mark.needs_federation, pytest.mark.needs_browser]

SHOT = os.environ.get("FEDPROC_SCREENSHOTS")
SECONDS = 120_000


def sign_in(page: Any, running: Running) -> str:
    env = read_env(running.folder)
    page.goto(env["FEDPROC_URL"] + "/dashboard")
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    page.get_by_label("User name").fill(env["FEDPROC_USERNAME"])
    page.get_by_label("Password").fill(env["FEDPROC_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="What would you like to do?").wait_for()
    return env["FEDPROC_URL"]


def test_a_model_is_trained_from_choice_to_download(browser: Any, running: Running, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1100, "height": 980}, accept_downloads=True)
    page = context.new_page()
    sign_in(page, running)
    page.get_by_role("main").get_by_role("link", name="Look for data").click()
    for dataset in ("UB:wisconsin", "BSC:wisconsin"):
        page.get_by_label(f"Choose {dataset}").check()
    page.get_by_role("button", name="Use the chosen ones").click()
    page.get_by_role("combobox", name="Tool").select_option("flower-logistic")
    page.get_by_role("button", name="Take it").click()
    assert page.get_by_label("UB:wisconsin").is_checked()
    page.get_by_label("rounds", exact=True).fill("12")
    page.get_by_label("Label").fill("Malignant or not, from two hospitals")
    page.get_by_role("button", name="Start the experiment").click()
    page.get_by_role("heading", name="Malignant or not").wait_for()
    page.locator("#curves canvas").first.wait_for(timeout=SECONDS)
    page.get_by_text("It has ended").wait_for(timeout=SECONDS)
    assert page.locator("#summary .badge").inner_text().endswith("succeeded")
    page.locator("#curves summary", has_text="Numbers of accuracy").click()
    page.locator("#curves").get_by_role("cell", name="12", exact=True).wait_for()
    if SHOT:
        page.locator("#curves summary", has_text="Numbers of accuracy").click()
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(SHOT) / "dashboard.png", full_page=False)
    with page.expect_download() as download:
        page.get_by_role("link", name="result.json", exact=True).click()
    download.value.save_as(tmp_path / "result.json")
    assert len(json.loads((tmp_path / "result.json").read_text())["rounds"]) == 12
    page.get_by_role("link", name="My files").click()
    page.get_by_role("link", name="model.npz").first.wait_for()
    context.close()


def test_a_site_that_refuses_says_why_in_the_page(browser: Any, running: Running) -> None:
    context = browser.new_context()
    page = context.new_page()
    url = sign_in(page, running)
    page.goto(f"{url}/new?tool=host-acceptance&host=UB&p.exit_code=3&label=exit+3")
    page.get_by_role("button", name="Start the experiment").click()
    page.get_by_text("It has ended").wait_for(timeout=SECONDS)
    assert page.locator("#summary .badge").inner_text().endswith("failed")
    page.locator("#jobs").get_by_text("exit").first.wait_for()
    page.get_by_role("link", name="Run again").click()
    assert page.get_by_label("exit_code", exact=True).input_value() == "3"
    context.close()
