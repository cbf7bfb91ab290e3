"""What came out, in sentences, computed from verdicts: the opening of the report, the last words of a notebook."""

from collections.abc import Iterator, Sequence

from lficam.figures.verdicts import Verdict

SUPPORTED, REFUTED, OPEN = "supported", "not supported", "inconclusive"

# What a verdict says in words. In the order of what a reader asks first.
SENTENCES = {
    "C3": {
        SUPPORTED: "LFI-CAM's maps of an image overlap by more than half between settings",
        REFUTED: "LFI-CAM's maps of an image overlap by less than half between settings",
        OPEN: "whether LFI-CAM's maps of an image overlap by more or by less than half between settings stays open",
    },
    "E9": {
        SUPPORTED: "training makes LFI-CAM's maps more alike",
        REFUTED: "training does not make LFI-CAM's maps more alike",
        OPEN: "whether training makes LFI-CAM's maps more alike stays open",
    },
    "E10": {
        SUPPORTED: "LFI-CAM's maps are more alike than the CAMs of a plain network",
        REFUTED: "LFI-CAM's maps are no more alike than the CAMs of a plain network",
        OPEN: "whether LFI-CAM's maps are more alike than the CAMs of a plain network stays open",
    },
    "E11": {
        SUPPORTED: "LFI-CAM classifies better than the plain network",
        REFUTED: "LFI-CAM classifies no better than the plain network",
        OPEN: "whether LFI-CAM classifies better than the plain network stays open",
    },
    "C2": {
        SUPPORTED: "ABN's maps of an image overlap by less than half between settings",
        REFUTED: "ABN's maps of an image overlap by more than half between settings",
        OPEN: "whether ABN's maps of an image overlap by less or by more than half between settings stays open",
    },
    "E1": {
        SUPPORTED: "LFI-CAM's maps are more alike between settings than ABN's",
        REFUTED: "LFI-CAM's maps are no more alike between settings than ABN's",
        OPEN: "whether LFI-CAM's maps are more alike between settings than ABN's stays open",
    },
    "E2": {
        SUPPORTED: "LFI-CAM's maps are more alike between seeds than ABN's",
        REFUTED: "LFI-CAM's maps are no more alike between seeds than ABN's",
        OPEN: "whether LFI-CAM's maps are more alike between seeds than ABN's stays open",
    },
    "E3": {
        SUPPORTED: "two LFI-CAM models agree on an image more than one model's maps of different images do",
        REFUTED: "two LFI-CAM models agree on an image hardly more than one model's maps of different images do",
        OPEN: "whether two LFI-CAM models agree on an image clearly more than one model's maps of different images do stays open",
    },
    "C1": {
        SUPPORTED: "LFI-CAM's map lies on the object more than the mean of the feature maps does, with or without FIN",
        REFUTED: "LFI-CAM's map lies on the object no more than the mean of the feature maps does, with or without FIN",
        OPEN: "whether LFI-CAM's map lies on the object more than the mean of the feature maps stays open",
    },
    "E7": {
        SUPPORTED: "the importance that the FIN learns puts the map on the object better than a uniform one in its place",
        REFUTED: "a uniform importance in place of the learned one puts the map on the object as well",
        OPEN: "whether the learned importance puts the map on the object better than a uniform one stays open",
    },
    "E8": {
        SUPPORTED: "replacing the learned importance after training costs accuracy",
        REFUTED: "replacing the learned importance after training costs less than a point of accuracy",
        OPEN: "whether replacing the learned importance after training costs accuracy stays open",
    },
    "E6": {
        SUPPORTED: "the order of the cells of LFI-CAM's map comes from training: it goes with other weights",
        REFUTED: "most of the order of the cells of LFI-CAM's map does not come from training: it stays with other weights",
        OPEN: "whether the order of the cells of LFI-CAM's map comes from training stays open",
    },
    "E4": {
        SUPPORTED: "LFI-CAM's map finds what the prediction rests on better than a random one",
        REFUTED: "LFI-CAM's map finds what the prediction rests on no better than a random one",
        OPEN: "whether LFI-CAM's map finds what the prediction rests on better than a random one stays open",
    },
    "E5": {
        SUPPORTED: "LFI-CAM's map is as faithful to its model as Grad-CAM",
        REFUTED: "LFI-CAM's map is less faithful to its model than Grad-CAM",
        OPEN: "whether LFI-CAM's map is as faithful to its model as Grad-CAM stays open",
    },
}


def outcomes(judged: Sequence[tuple[str, Verdict]]) -> list[str]:
    """One sentence for each claim and outcome. judged: the data that a figure shows, "" where all show the same, and a verdict."""
    return list(_sentences(judged))


def _sentences(judged: Sequence[tuple[str, Verdict]]) -> Iterator[str]:
    for claim, by_outcome in SENTENCES.items():
        for outcome, words in by_outcome.items():
            found = [(data, verdict) for data, verdict in judged if (verdict.claim, verdict.outcome) == (claim, outcome)]
            if not found:
                continue
            numbers = "; ".join(_number(data, verdict) for data, verdict in found)
            yield f"{words[0].upper()}{words[1:]}{_reached([verdict for _, verdict in found])} ({claim}; {numbers})."


def _reached(verdicts: Sequence[Verdict]) -> str:
    """Who reaches that for free; nothing where it was not supported."""
    names = list(dict.fromkeys(verdict.free.what for verdict in verdicts if verdict.words.startswith("supported, but")))
    everywhere = all(verdict.free and verdict.free.reached for verdict in verdicts)
    where = "" if everywhere else " on a part of the data"
    return f", but that is not shown to exceed the same of {' and '.join(names)}{where}" if names else ""


def _number(data: str, verdict: Verdict) -> str:
    where = f"{data}: " if data else ""
    if not verdict.measured:
        return data or "nothing to measure"
    free = f", {verdict.free.what} {verdict.free.measured.mean:.2f}" if verdict.free else ""
    alone = "" if verdict.measured.models else " over images alone"
    judged = f", by its interval {verdict.by_interval}" if verdict.by_interval not in ("", verdict.outcome) else ""
    return f"{where}{verdict.measured}{alone}{free}{judged}"
