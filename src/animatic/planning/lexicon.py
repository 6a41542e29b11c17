"""Word lists of the offline planner. Only words that are *not* objects are listed, so any noun may name one."""

from ..prompting import english
from .motions import Spot

COLOURS = frozenset(
    """red orange yellow green blue purple pink brown black white gray grey golden gold silver beige cyan magenta
    turquoise violet""".split()
)
SIZES = {
    "tiny": 0.55, "miniature": 0.55, "small": 0.71, "little": 0.71, "short": 0.8, "big": 1.31, "large": 1.31,
    "tall": 1.31, "huge": 1.5, "giant": 1.5, "gigantic": 1.5, "enormous": 1.5, "massive": 1.5,
}  # fmt: skip
NUMBERS = {word: i for i, word in enumerate((*english.NUMBERS, "thirteen", "fourteen", "fifteen")) if i}
ADJECTIVES = frozenset(
    """lively cute fluffy happy sad angry old young new fast slow quick bright dark light pale shiny dirty clean round
    square beautiful pretty ugly friendly lonely lovely silly funny fat thin wild brave strong real realistic fresh
    hot cold wet dry single lone different other same sports toy upper lower left right top bottom furry grumpy
    sleepy hungry tired fancy noisy heavy curious whole photorealistic cinematic detailed""".split()
)
FUNCTION = frozenset(
    """a an the this that these those some any no its his her their my your our it he she they them him we us i you
    each every and or but nor then while as so if when where which who whose that than because until in on at to
    from of with without by for into onto off over under above below beneath underneath behind between beside
    besides near next past around round through across along inside outside towards toward against up down upon atop
    about like after before during is are was were be been being has have had do does did will would can could not
    never don't doesn't isn't aren't first second once again away back forth only also both there here very too just
    still together apart initially finally later afterwards meanwhile now halfway closer nearer upward upwards
    downward downwards leftward leftwards rightward rightwards sideways forward forwards backward backwards
    diagonally horizontally vertically clockwise underwater indoors outdoors another one two three four five six
    seven eight nine ten eleven twelve several many few others fast straight high low everywhere home visible""".split()
)
NOT_ADVERBS = frozenset("fly butterfly dragonfly family lily jelly belly bully doily".split())
NOT_PARTICIPLES = frozenset(
    """king ring wing building painting string thing ceiling swing spring sibling duckling darling pudding wedding
    clothing earring herring bed seed weed shed sled reed""".split()
)
COMPOUNDS = frozenset(
    "teddy bear|hot dog|ice cream|fire engine|fire truck|traffic light|air balloon|paper plane".split("|")
)
SINGULARS = {many: one for one, many in english.IRREGULAR.items() if many != one}
VERBS = {  # kind of motion -> verbs
    "go": """walk run move drive fly swim sail roll crawl travel go glide march gallop slide race drift slither
        stroll skate ski jog wander pass cross come head cruise speed zoom trot rush cycle ride sneak creep
        return wade surf paddle enter proceed charge dash sprint stride float""",
    "down": "fall drop sink descend dive land tumble plunge",
    "up": "rise ascend climb soar launch",
    "bounce": "bounce jump hop leap",
    "circle": "circle orbit",
    "approach": "approach",
    "recede": "recede retreat depart leave",
    "throw": "throw toss kick hurl fling lob",
    "join": "chase follow carry push pull drag",  # subject and object go together
    "still": "stand sit lie rest wait sleep stay remain hover hang pose stop pause",
    "arrive": "end finish arrive reach",
    "aux": "begin start keep continue seem contain show feature see",
    "appear": "appear emerge",
    "disappear": "disappear vanish",
    "other": """eat play sing dance spin rotate juggle watch hold look read drink bark meow shine glow burn smile
        laugh cry shake wave turn grow melt explode wear catch""",
}
KINDS = {verb: kind for kind, verbs in VERBS.items() for verb in verbs.split()}
IRREGULAR_VERBS = {
    "ran": "run", "flew": "fly", "flown": "fly", "swam": "swim", "drove": "drive", "went": "go", "came": "come",
    "fell": "fall", "fallen": "fall", "rose": "rise", "risen": "rise", "sank": "sink", "threw": "throw",
    "thrown": "throw", "rode": "ride", "parked": "stand", "parking": "stand", "stood": "stand", "sat": "sit",
    "lying": "lie", "leaving": "leave",
}  # fmt: skip
USUAL: dict[str, Spot | str] = {  # kind of motion -> its default goal
    "go": (1.0, None), "join": (1.0, None), "up": (None, 0.0), "down": (None, 1.0), "throw": "throw right",
    "bounce": "bounce", "circle": "circle", "approach": "approach", "recede": "recede",
}  # fmt: skip
PLACE_WORDS = frozenset("left right top bottom upper lower middle center centre".split())
NOT_OBJECTS = PLACE_WORDS | frozenset(
    """corner side edge scene video clip frame camera viewer screen photo photograph picture image painting animation
    background foreground half distance way circle circles direction place end beginning start view shot front back
    line ground air time moment left-hand right-hand""".split()
)
SETTINGS = frozenset(
    """grass lawn meadow field park garden hill sky clouds night beach sand shore coast snow ice road street highway
    city sea ocean water river lake pond pool forest woods jungle room kitchen bedroom house office museum floor
    desert dunes space mountains countryside farm yard""".split()
)
IMPLIED = {"fly": "sky", "soar": "sky", "swim": "sea", "sail": "sea", "dive": "sea", "drive": "road"}  # backgrounds
TALL = frozenset("person man woman boy girl child tree giraffe tower bottle lamp robot skier dancer penguin".split())
WIDE = frozenset(
    """car bus truck train boat ship fish whale snake sofa bed bench crocodile turtle plane airplane""".split()
)
