"""What a completion says when it tests, takes back, tries and rejects: the patterns of `behaviours`.

They are searched in lower case, with straight apostrophes and single blanks. A pattern has no repeat without a bound,
so what one position of a text can cost does not grow with the text; words come first in it, because the search skips a
branch at once whose first letter does not fit.
"""

import re

_START = r"(?:^|[.!?:;\u2026]\s)[^\w\n]{0,8}+"  # of a sentence or a line
_LET = r"let(?:'?s| us| me)(?: \w{1,20})? "
_OWN = (  # what a text has reached
    r"(?:this|that|it|by|our|my|whether|the (?:answer|result|total|sum|solution|calculation|work|math)|"
    r"if (?:it|this|that|(?:the|our|these) \w{1,20}) (?:is |are )?(?:indeed )?"
    r"(?:correct|right|valid|consistent|works?|satisf\w{1,4}|makes? sense|adds? up|holds?|match(?:es)?|equals?|gives?|"
    r"fits?))\b(?! (?:out|in)\b)"
)


def _any(words: tuple[str, ...], starts: tuple[str, ...] = (), other: tuple[str, ...] = ()) -> re.Pattern[str]:
    """One pattern of several: some begin with a word, some a sentence or a line; ^ and $ are the ends of lines."""
    heads = [rf"\b(?:{'|'.join(words)})", *([rf"{_START}(?:{'|'.join(starts)})"] if starts else [])]
    return re.compile("|".join([*heads, *other]), re.MULTILINE)


TESTS = _any(
    (
        r"(?:double|re)[- ]?check(?:s|ed|ing)?\b",
        rf"(?:{_LET}|(?:i|we)(?:'ll| can| will| should)? (?:(?!need)\w{{1,20}} )?)(?:verify|confirm)\b",
        rf"to (?:verify|confirm)(?=[,:]| {_OWN})(?<!need to verify)",
        rf"let(?:'?s| us| me)(?: \w{{1,20}})? check(?:[:.]\s|,? {_OWN}|$)(?<!\? let me check: )",
        rf"(?:to|can|should)(?: \w{{1,20}})? check(?:,| with\b| (?!that \w{{1,20}} ?=){_OWN})",
        r"wait,? let me check\b|just to (?:be|make) (?:sure|certain)\b",
        r"(?:plug|substitut|put)\w{0,5} [^.\n]{0,40}\bback in(?:to)?\b[^.\n]{0,60}"
        r"(?:\u2713|\b(?:true|correct|holds|as (?:given|required)))",
        r"check(?:ing)? (?:if|whether|that) [^.\n]{0,40}\bsatisf",
        r"check (?:[^.\n]{0,30}\b(?:again|once more|more carefully)\b|shows\b|confirms\b)|as a check\b",
        r"(?:this|that|it|which|everything) (?:all )?checks out\b|everything adds up\b",
        r"this (?:confirms (?:our|that|the)|satisfies (?:all (?:of )?)?the (?:conditions|constraints|equation))\b",
        r"(?:this|which) (?:matches|agrees with) (?:what|our|the (?:given|original|problem|number|total|expected))\b",
        r"re-?(?:examin(?:e|ing)|evaluate) (?:the|our|my) (?:\w{1,20} )?steps\b",
    ),
    (
        r"(?:[0-9]{1,2}[:.)] ?)?\W{0,4}verify (?:the|this|that|if|whether|with|our|my|[a-z] ?=)\b",
        r"(?:(?:quick |sanity )?check(?:ing)?|verif(?:ication|ying)|proof)\W{0,4}[:.]",
    ),
)
"""A result that was reached is put to a test, in so many words."""

_NOT = r"(?:isn't|aren't|wasn't|(?:is|are|was)(?: also| still| actually)? not|can't be|cannot be)"
_FAILS_WORDS = (
    rf"{_NOT} (?:a |an |the )?(?:\w{{1,20}} )?(?:(?:valid|correct|right|possible|feasible)\b"
    r"(?! (?:to|value|for)\b|\))|option\b|way\b|it\b(?! \w))",
    r"(?:(?<!s )that|this|it|which|combination|approach|solution|sequence|still) (?:still |also )?"
    r"(?:doesn't|does ?not|didn't|did not|won't|can't|cannot) (?:\w{1,20} )?"
    r"(?:work|fit|help|equal|match|give|lead|(?:seem|look|be) (?:right|correct))\b",
    r"(?:that|this|it|which|answer|solution|result|expression|calculation|step|approach)(?:'s| is| was)"
    r"(?: also| still| actually)? (?:incorrect|wrong|invalid|impossible)\b(?! to\b)",
    r"contradict(?:s|ing) (?:our|my|[a-z] ?=)|(?:this|which) (?:is|gives|leads to|creates) a contradiction\b(?! since)",
    r"case is (?:inconsistent|impossible)\b",
)
_FAILS_OTHER = (
    r"[0-9)] ?(?:doesn't|does ?not|won't|can't|cannot) (?:\w{1,20} )?(?:work|fit|help|equal|match|give|lead)\b",
    r"(?:[0-9)]\s{1,3}|^)is(?: also| still| actually)? (?:incorrect|wrong|invalid|impossible)\b(?! to\b)",
    r"(?:^|[.!;]\s)[ \t]{0,4}(?:no|nope|wrong|incorrect)\b(?= ?(?:[.,!]|$|let'?s\b))",
)
_SLIP = r"(?:error|mistake)\b(?! in the (?:\w{1,20} )?(?:problem|question|data|numbers|statement))"

TAKES_BACK = _any(
    (
        *_FAILS_WORDS,
        r"(?:oh|but|no|hmm) wait\b(?=\s?(?:[,.!?:\u2026\u2014-]|no\b|i\b|that\b|the\b|$))",
        r"hold on(?=[,.!\u2026](?!\"))",
        r"(?:oops|nope|scratch that|on second thought|my mistake|correction:)",
        rf"{_LET}(?:rethink|reconsider|redo|re-?evaluate|recalculate|correct\b|fix\b|start over|start again|try again)",
        rf"{_LET}(?:think|look at \w{{1,20}}) differently\b",
        r"(?:try|consider|look at|find|think|use|do)(?: \w{1,20}){0,4} (?:another|different)"
        r"(?:ly| (?:approach|approaches|way|method|strategy))\b",
        r"re-?evaluate (?:our|my|the)\b",
        rf"(?:i|we)(?:'ve| have| must have| may have| might have)? made (?:an?|another) (?:\w{{1,20}} )?{_SLIP}",
        r"i apologi[sz]e for (?:the|my)\b",
        rf"given the (?:\w{{1,20}} )?(?:{_SLIP}|misapplication|missteps?\b)",
        r"(?:indicates|realize|there (?:is|was|must be|seems to be|might be)|due to|considering) "
        rf"(?:\w{{1,20}} ){{0,3}}(?:an? |the )?{_SLIP}",
        r"(?:this|that|it|which)(?: still)? (?:doesn't|does not) make (?:any )?sense\b",
        r"i(?:'ve| have)? (?:forgot|misread|miscounted|miscalculated|misunderstood|overlooked)\b",
        r"we(?:'ve| have)? (?:over|mis|double[- ])count",
    ),
    (
        r"wait\b(?=\s?(?:[.!?:\u2026\u2014-]|, (?!let me (?:double|check|verify))|no\b|i\b|that\b|the\b|$))",
        r"(?:so,? |thus,? |therefore,? )?re-?(?:evaluat|consider|think|do)ing\b",
        r"(?:no, )?actually\b",
    ),
    (*_FAILS_OTHER, r"[,(\u2014] ?wait\b(?=\s?(?:[,.!?:\u2026\u2014-]|no\b|i\b|that\b|the\b|$))"),
)
"""Something of one's own is said to be wrong, impossible or no way, or is begun anew."""

_MUCH = r"(?:small|big|large|high|low|many|few|much|little|short)\b"

TRIED = _any(
    (
        r"(?<!to )(?:try(?:ing)?|guess(?:ing)?|testing|suppose)\b[^.\n]{0,40}?[0-9]",
        rf"{_LET}(?:try|assume|start with a guess)\b",
        r"(?:if|for|with|when) [a-z] ?(?:=|is) ?[0-9]|if \w{1,20} is (?:in|a|an)\b",
        r"(?:case|option|attempt) #?[0-9]\b|next (?:smallest|prime)\b",
        r"(?:different|possible|some|several|other) (?:\w{1,20} )?(?:combinations|options|values|possibilities)\b",
        r"(?:another|an alternative|a (?:\w{1,20} )?(?:valid|correct)|valid) (?:\w{1,20} )?"
        r"(?:option|solution|expression|approach|answer|is)\b",
    )
)
"""A candidate is put forward."""

REFUSED = _any(
    (
        *_FAILS_WORDS,
        r"(?:is|are|so|which is)(?: also)? not (?:divisible|a (?:factor|prime|multiple))\b|won't be a factor\b",
        r"(?<![a-z] )is not equal to [0-9]|which is not (?:equal to )?[0-9]|(?:which|that|this) is not enough\b",
        r"can't (?:use|combine)\b|is (?:also |still )?inefficient\b|conflicts with\b",
    ),
    (),
    (
        *_FAILS_OTHER,
        rf"[0-9][)\\*]{{0,3}}\s?[,(\u2014-]\s?(?:[a-z']{{1,12}},? ){{0,4}}(?:too|still) {_MUCH}",
        rf"[0-9][)\\*.]{{0,3}}\s(?:(?:which|that|that's|this|it|is|still|already|also|way)\s){{1,4}}too {_MUCH}",
        r"[(,.] ?(?:\w{1,20} ){0,3}not (?:helpful|[0-9]{1,9}|possible(?! to)|an integer|enough)\b",
        r"[0-9)] ?(?:- ?)?(?:no|nope)\b(?! [a-z\"])",
    ),
)
"""A candidate is rejected."""

TRIES = re.compile(rf"\b{_LET}(?:\w{{1,20}} )?try\b[^.\n]{{0,40}}?[0-9]")
"""A number is said to be tried."""


def plain(text: str) -> str:
    """The text as the patterns want it: lower case, straight apostrophes, no emphasis, single blanks and line ends."""
    straight = text.replace("\u2019", "'").replace("**", "").lower()
    return re.sub(r"[ \t]++", " ", re.sub(r"\n\s*+", "\n", straight))
