"""Define every limit and every closed list of words of a request, in one place.

The command line, the wire, the server and the engine take theirs from here, so that what one of them allows is allowed
by the next one too. Standard library only: `salon --help` must answer at once.
"""

from __future__ import annotations

import os
from typing import Final

# ---- a request for pictures ----------------------------------------------------------------------------------------

MAX_PROMPT: Final = 2_000  # characters; also of a negative prompt
MAX_SOURCE: Final = 12_000  # characters of a prompt with parameters, which may stand for several
MAX_SIDE: Final = 4_096  # pixels
MAX_STEPS: Final = 200
MAX_IMAGES: Final = 8  # of a job; an engine itself makes more at a time (`Limits.max_images`)
MAX_JOBS: Final = 100  # of one prompt, also where a plan allows more: the answer has all their records in one message
MAX_REPEAT: Final = 40
MAX_PREVIEW_EVERY: Final = 1_000  # solver steps
MAX_ASPECT: Final = 14
GUIDANCE: Final = (0.0, 100.0)
WHOLE_INTERVAL: Final = (0.0, 1.0)  # the share of the steps in which guidance acts, where nothing is said
MAX_TERMS: Final = 8  # texts beside the prompt, those to leave out too: each is one more model sample a picture
TERM_WEIGHT: Final = (-100.0, 100.0)  # of one beside the others
SHIFT: Final = (0.01, 100.0)
CHAOS: Final = (0.0, 100.0)
WEIRD: Final = (0.0, 3_000.0)
EXPERIMENTAL: Final = (0.0, 100.0)
STOP: Final = (10.0, 100.0)  # percent of the steps
PROGRESSIVE: Final = (0.0, 90.0)  # percent of the steps
QUALITIES: Final = (1, 2, 4)
STYLE_VERSIONS: Final = (1,)  # of style references
MAX_SEED: Final = 2**64 - 1
MAX_STYLE: Final = 1_000.0  # strength of the default style, or of style references; 100 is usual
MAX_STYLE_NUMBER: Final = 2**32 - 1
MAX_REFERENCES: Final = 4  # styles that one request refers to
REFERENCE_WEIGHT: Final = (0.01, 100.0)  # of one beside the others
MAX_LORAS: Final = 8  # of one request
LORA_WEIGHT: Final = (-10.0, 10.0)  # 1 is what the file says, 0 is none
LORA_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9 _.()+-]{0,99}"  # in the folder of a server's operator, without .safetensors
MAX_LORA_BYTES: Final = 2**30  # of a file that a user brings
MAX_IMAGE_PROMPTS: Final = 5  # pictures before the words of a prompt
BLENDED: Final = (2, MAX_IMAGE_PROMPTS)  # pictures of a blend
IMAGE_WEIGHT: Final = (0.0, 3.0)  # of all of these
MAX_OMNI: Final = 8  # pictures that a model looks at while it draws
MAX_LINK: Final = 2_000  # characters of a picture's link
MAX_SOURCES: Final = 8  # pictures that one request starts from
MAX_FEATHER: Final = 256  # pixels around a mask in which new ones fade into old ones
MAX_PLACE: Final = 4 * MAX_SIDE  # pixels of a picture's place on a canvas: how far off it is, and how large
MAX_REFERENCE_BYTES: Final = 16 * 2**20  # of a picture's file
MAX_UPLOAD_PART: Final = 48 * 1024  # bytes of a part in one message
DIGEST: Final = r"[0-9a-f]{64}"  # sha256 of a file, in hex
CODE: Final = r"[a-z2-7]{16}"  # a taste code, a snapshot of what a user likes
RANDOM_SEEDS: Final = 2**32  # random and typed seeds are below this: short enough to be read out and typed in
LANES: Final = ("turbo", "fast", "draft", "relax")  # by precedence

# The bounds of any `GenerationSpec`, for engines with larger `Limits` than the default ones.
ANY_SIDE: Final = 2**16
ANY_STEPS: Final = 1_000
ANY_IMAGES: Final = 2**16
ANY_TERMS: Final = 256

MAX_THREADS: Final = 256  # of an engine

# ---- jobs and accounts -----------------------------------------------------------------------------------------------

OPEN: Final = ("queued", "running")  # states of a job that goes on, as they are stored
FINAL: Final = ("done", "failed", "cancelled", "blocked")  # kinds of a job's last event, and its states then
REPLACED: Final = ("step", "preview")  # events of which a slow reader may miss all but the latest
GRID: Final = -1  # index of a job's grid among its pictures
TASTE: Final = "salon.taste"  # the server's own account; no key has this form, and so nobody can connect as it
LOCAL: Final = "local"  # the account of clients that connect without a key
ROLES: Final = ("user", "operator")
POLICY_STAGES: Final = ("prompt", "upload", "pictures")  # when the operator's policies are asked
POLICY_DOWN: Final = ("block", "allow")  # what holds while one does not answer
ID: Final = r"[A-Za-z0-9._:-]{1,64}"  # of a job, or the key of a request: a pattern, like the next two
LIST: Final = r"(?=.{1,64}$)[a-z0-9]+(?:[-_][a-z0-9]+)*"  # the name of a list of words
WORD: Final = r"[a-z0-9][a-z0-9_.-]{0,31}"  # such as the name of a plan
PUBLIC_KEY: Final = r"[0-9a-f]{64}"  # a public key, which names an account
MAX_LABEL: Final = 100  # characters of a name for people
MAX_PAGE: Final = 200  # lines of a page
MAX_NAMES: Final = 20_000  # names of jobs on a page
MAX_BULK: Final = 1_000  # jobs that one request changes
MAX_FOLDERS: Final = 500  # of an account
MAX_PRESETS: Final = 200  # of an account
MAX_PRESET: Final = 1_000  # characters of one
MAX_SEARCHED: Final = 16  # words of a search
PRESET: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # the name of parameters that an account keeps: a pattern


def random_seed() -> int:
    """Return a random seed for a request that has none."""
    return int.from_bytes(os.urandom(8), "little") % RANDOM_SEEDS
