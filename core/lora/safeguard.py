"""Text from strangers: made harmless to show, and searched for signs that a minor is depicted.

The search is a gate before sampling, so it leans towards stopping. It reads words, not pictures:
a file that passes may still depict a minor, and a person decides.
"""

import re
import unicodedata
from collections.abc import Iterable

SHOWN_CHARS = 2_000
MAX_MATCHES = 50
MAX_SEARCHED_CHARS = 4 * 1024 * 1024
TOO_LONG = "more text than is searched"

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ADULT = 18

_HARMLESS = re.compile(
    r"\b(?:child(?:ren)?'?s'? (?:book|drawing)s?|teen titans|teenage mutant ninja turtles?|"
    r"billy the kid|kid icarus|kid gloves?|baby (?:blue|pink|doll|hair|bangs)|"
    r"(?:18|19|2\d)\+)"
)
_ORDINAL = (
    "(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|1st|2nd|"
    "3rd|[4-9]th|1[0-2]th)"
)
# "son" is also French, a name's end and a firm's: only with whose son it is.
_FAMILY = (
    "(?:my|step|god)?daughters?|(?:step|god)(?:sons?|child(?:ren)?|kids?)|"
    "grand ?(?:daughters?|sons?|child(?:ren)?|kids?|baby|babies)|"
    "(?:my|our|his|her|their) (?:(?:own|little|young(?:er|est)?|old(?:er|est)?|eldest|only|first|"
    "second|baby|newborn|two|three|[2-9]) )?sons?|sons? of (?:mine|ours|his|hers|theirs)|"
    "(?:little|lil|baby|kid) (?:sis|sisters?|brothers?)"
)
_GRADES = (
    f"{_ORDINAL} grade(?:rs?| (?:students?|pupils?|class(?:mates?|rooms?)?|girls?|boys?))|"
    f"in (?:the )?{_ORDINAL} grade|grade (?:[1-9]|1[0-2]) (?:student|pupil)s?"
)
_TERMS = (
    # English
    "child|children|kid|kids|kiddo|toddlers?|infants?|newborns?|baby|babies|preteens?|pre teens?|"
    "tweens?|teens?|teenagers?|teenaged?|underaged?|under aged?|minors|juveniles?|adolescents?|"
    "prepubescent|pubescent|school ?girls?|school ?boys?|kindergart(?:en|ner)s?|preschool(?:er)?s?|"
    "(?:elementary|primary|middle|grade) school(?:er)?s?|"
    "(?:little|young|small|tiny) (?:girl|boy)s?|"
    "aged down|age regression|lolis?|lolitas?|lolicon|lolycon|shotas?|shotacon|jailbait|pedo|"
    f"(?:fe)?male child|{_FAMILY}|{_GRADES}|"
    # German, Dutch
    "kleinkind(?:er)?|kindern|säugling|minderjährige?[rns]?|schulmädchen|kleines mädchen|"
    "kleiner junge|jugendliche[rns]?|kinderen|peuters?|kleuters?|minderjarigen?|"
    # French, Spanish, Portuguese, Italian
    "enfants?|bébés?|mineure?s?|fillettes?|garçonnets?|écoli(?:er|ère)s?|petite fille|petit garçon|"
    "niños?|niñas?|bebés?|menor(?:es)? de edad|colegialas?|crianças?|meninas?|meninos?|bebês?|"
    "menor(?:es)? de idade|bambin[oaie]|minorenn[ei]|ragazzin[oaie]|neonat[oaie]|"
    # Polish, Turkish
    "dzieck[oa]|dzieci|dziewczynk[aięi]|nieletni[ae]?|çocuk(?:lar)?|bebek|küçük kız|"
    # Russian, Ukrainian
    "реб[её]нок|дети|детск\\w*|девочк\\w*|мальчик\\w*|несовершеннолетн\\w*|школьниц\\w*|малыши?|"
    "дитина|діти|дівчинк\\w*|неповнолітн\\w*|"
    # Arabic, Hindi
    "طفل|طفلة|أطفال|قاصر|बच्चा|बच्ची|बच्चे|नाबालिग"
)
_UNSPACED = (
    "儿童|兒童|孩子|小孩|幼女|萝莉|蘿莉|正太|未成年|小学生|小學生|初中生|小女孩|小男孩|婴儿|嬰兒|幼儿|"
    "幼児|子供|子ども|中学生|女子高生|赤ちゃん|어린이|미성년|초등학생|중학생|유아기|아동|"
    r"(?<![ァ-ヺー])(?:ロリ|ショタ)(?![ァ-ヺー])|ロリコン|ショタコン"
)
_WORDS = re.compile(rf"(?<!\w)(?:{_TERMS})(?!\w)|{_UNSPACED}")
_LEET_WORDS = re.compile(
    r"(?:lolis?|lolitas?|lolicon|shotas?|child|children|kids?|teens?|toddlers?|preteens?|"
    r"underage|schoolgirls?|schoolboys?|jailbait|pedo)"
)
_LEET_TOKEN = re.compile(
    r"(?<![\w@$!])(?=[\w@$!]*[a-z])(?=[\w@$!]*[013457@$!])[a-z0-9@$!]{3,20}(?!\w)"
)
_LEET = [str.maketrans("034@57$!1", "oeaasts" + one * 2) for one in "il"]
_SPELLED = re.compile(r"(?<!\w)(?:[a-z0-9@$][ .*-]){2,12}[a-z0-9@$](?!\w)")
_NOT_A_PERSON = (
    r"(?! ?(?:whisk|scotch|bourbon|wine|rum\b|car\b|house|building|tree|laptop|computer|"
    r"anniversary|experience|cheese))"
)
_YEARS = r"yo(?! yos?\b)|y/o|y\. ?o\.?|yrs? old|years? (?:old|of age)"
_YEARS_OLD = re.compile(
    rf"(?<![\d.,])(\d{{1,2}}) ?(?:{_YEARS}|jahre alt|jährige?[rns]?|"
    r"ans|años|anos de idade|anni|lat|yaşında|лет|года|годик\w*|歳|才|岁|歲|살)(?![a-zà-ÿ])"
    + _NOT_A_PERSON
)
_MONTHS = r"(?:months?|mos?\.?) ?(?:old|of age)"
_MONTHS_OLD = re.compile(rf"(?<![\d.,])(\d{{1,3}}) ?{_MONTHS}(?!\w){_NOT_A_PERSON}")
_AGED = re.compile(r"(?<!\w)age[ds]?(?: of| is)? ?[:=]? ?(\d{1,2})(?![\d%+]| years (?!old))")
_UNDER = re.compile(r"(?<!\w)under (?:the age of )?(1[0-7])(?!\d)")
_AGES = ((_YEARS_OLD, _ADULT), (_AGED, _ADULT), (_UNDER, _ADULT), (_MONTHS_OLD, 12 * _ADULT))
_NUMBERS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    "sixteen|seventeen"
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred")
_NUMBER_WORDS = re.compile(
    rf"(?<!\w)(?:{''.join(f'(?<!{ten} )' for ten in _TENS)}(?:{_NUMBERS}) ?(?:{_YEARS})|"
    rf"(?:{_NUMBERS}|eighteen|nineteen|twenty|thirty) ?{_MONTHS})(?!\w)" + _NOT_A_PERSON
)
_ESCAPE = re.compile(r"\\+[bfnrtv/]")


def clean_text(text: str, limit: int = SHOWN_CHARS) -> str:
    r"""Text that is safe to show: control and direction characters as ``\uXXXX``, length capped.

    It is not HTML-escaped; the report's template does that.
    """
    visible = "".join(_visible(char) for char in text[:limit])
    return visible if len(text) <= limit else f"{visible}… ({len(text)} characters)"


def stop_words(texts: Iterable[str]) -> list[str]:
    """Signs that a minor is depicted, in many languages, in digits-for-letters and as ages.

    Args:
        texts: file name, prompts, tags, folder names, whole metadata values.

    Returns:
        The distinct matches, sorted, at most 50; empty if sampling may go on. Text beyond 4 Mi
        characters is not searched and counts as a sign itself: the gate fails closed.
    """
    signs: set[str] = set()
    budget = MAX_SEARCHED_CHARS
    for text in texts:
        for reading in _readings(text[: max(0, budget)]):
            signs |= _matches(_normal(reading))
        budget -= len(text)
    if budget < 0:
        signs.add(TOO_LONG)
    return sorted(clean_text(match, 60) for match in signs)[:MAX_MATCHES]


def _visible(char: str) -> str:
    if char in _BIDI or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"\\u{ord(char):04x}"
    return char


def _readings(text: str) -> set[str]:
    r"""The text as it is, and with JSON's escapes as spaces: ``\teen`` may be a path, or a tab."""
    return {text, _ESCAPE.sub(" ", text)}


def _normal(text: str) -> str:
    """Case-folded, without invisible characters; ``_`` and ``-`` are spaces."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", unicodedata.normalize("NFKC", text))
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    text = re.sub(r"[\s_\-‐‑–]+", " ", text.casefold())
    return _HARMLESS.sub(" ", text)


def _matches(text: str) -> set[str]:
    matches = {match[0] for match in _WORDS.finditer(text)}
    matches |= {match[0] for match in _NUMBER_WORDS.finditer(text)}
    for pattern, adult in _AGES:
        matches |= {match[0] for match in pattern.finditer(text) if int(match[1]) < adult}
    return matches | _disguised(text)


def _disguised(text: str) -> set[str]:
    spelled = (match[0] for match in _SPELLED.finditer(text))
    tokens = {match[0]: match[0] for match in _LEET_TOKEN.finditer(text)}
    tokens |= {token: re.sub(r"[ .*-]", "", token) for token in spelled}
    return {
        word
        for word, token in tokens.items()
        if any(_LEET_WORDS.fullmatch(token.translate(table)) for table in _LEET)
    }
