"""Choose among the classes of a dataset by their number or names. No torch."""

import unicodedata

from attncli.errors import UserError, unknown_name_error
from attncli.recipe import read_class_list


def choose_classes(classes: tuple[str, ...], wanted: int | list[str] | str | None) -> list[int]:
    """Return the numbers of the wanted classes, in the dataset's order.

    `wanted` is None (all), a number k (the first k), a list of names, or the path of a file with names; their form of
    Unicode does not count. Raises UserError for an unknown name, more classes than there are, or fewer than two.
    """
    if wanted is None:
        class_numbers = list(range(len(classes)))
    elif isinstance(wanted, int):
        if wanted > len(classes):
            raise UserError(f"data.classes: {wanted}: the dataset has {len(classes)}", f"at most {len(classes)}")
        class_numbers = list(range(wanted))
    else:
        wanted = read_class_list(wanted) if isinstance(wanted, str) else wanted
        numbers = {unicodedata.normalize("NFC", name): number for number, name in enumerate(classes)}
        numbers |= {name: number for number, name in enumerate(classes)}
        wanted_numbers = {name: numbers.get(name, numbers.get(unicodedata.normalize("NFC", name))) for name in wanted}
        for name, number in wanted_numbers.items():
            if number is None:
                raise unknown_name_error("class", name, classes, location="data.classes")
        class_numbers = sorted({number for number in wanted_numbers.values() if number is not None})
    if len(class_numbers) < 2:
        raise UserError(
            f"data.classes: {len(class_numbers)} of them; a classifier needs at least two classes",
            f"known: {', '.join(classes)}",
        )
    return class_numbers
