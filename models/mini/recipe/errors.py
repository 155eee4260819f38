"""What can go wrong in the recipe.

RecipeError (a SalonError)
├── LicenceError      a drawing set whose licence or author is missing, unknown or share-alike
├── PackageError      a package that cannot be fetched or read
├── VocabularyError   a vocabulary line that cannot be read, or a concept without enough drawings
├── CacheError        a stage's files are missing, damaged, or were made with another configuration
├── SpaceError        not enough room on the disk for what the stage will write
└── GateError         a stage ended below the figure that the next one needs
"""

from ....engine.errors import SalonError


class RecipeError(SalonError):
    """A recipe stage cannot go on; the message says what came, what is allowed and what to do."""


class LicenceError(RecipeError):
    pass


class PackageError(RecipeError):
    pass


class VocabularyError(RecipeError):
    pass


class CacheError(RecipeError):
    pass


class SpaceError(RecipeError):
    pass


class GateError(RecipeError):
    pass
