"""The page: as it was written, and as it is made again."""

import re
from importlib.metadata import version as version_of

from reinforce_lite import __version__
from reinforce_lite.io.provenance import origin, sha256_file
from reinforce_lite.report.build import PAGE, Report
from reinforce_lite.report.verification.difference import Check, Difference, differing_lines
from reinforce_lite.report.verification.experiment import Experiment, without_sums


def page(experiment: Experiment, report: Report, sound: bool) -> Check:
    """report.html against its recorded sum, and line by line.

    Another machine may draw the plots otherwise, and another version of this package the whole page; the recorded sum
    tells that from a page that was changed. `sound`: whether nothing beneath the page differs; else the plots may show
    just that.
    """
    check, path = Check("page"), experiment.folder / PAGE
    text = path.read_bytes().decode(errors="replace")  # not read_text(), which changes the ends of lines
    recorded = (experiment.recorded("files") or {}).get(PAGE)
    present = sha256_file(path)
    check.looked_at = f"{len(text.splitlines()):,} lines, made anew"
    if recorded is None:
        without_sums(experiment, check, PAGE, "a change of it would not show")
    elif present != recorded:
        check.differences.append(Difference(PAGE, "", "SHA-256", recorded, present))
    if text == report.page:
        return check
    if other := other_maker(experiment):
        check.unverified.append(f"{PAGE}: {other}, so its lines could not be compared; run that version's verify")
    elif sound and present == recorded and _without_curves(text) == _without_curves(report.page):
        check.notes.append(f"{PAGE}: its plots come out otherwise on this machine; the page is as it was written")
    else:
        check.differences += differing_lines(PAGE, text, report.page)
    return check


def other_maker(experiment: Experiment) -> str | None:
    """In words, what made the report if that was another code than this one; None if it was this one."""
    made = experiment.recorded("made_with")
    if made is None or experiment.version != __version__:
        return f"made by reinforce-lite {experiment.version} of unknown commit; this is {__version__}"
    for what, then, now in (
        ("commit", made["git_commit"], origin()["git_commit"]),
        ("matplotlib", made["matplotlib"], version_of("matplotlib")),
    ):
        if then != now:
            return f"made by {what} {then or 'unknown'}; this is {now or 'unknown'}"
    return None


def _without_curves(page: str) -> str:
    """The page without the path data of its plots, which another machine rounds otherwise; all words stay."""
    return re.sub(r'(?<=\sd=")[^"<>]*(?=")', "", page)
