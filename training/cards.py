"""What the cards of all networks say alike."""

from calzoo.training.ledger import versions


def common_fields(recipe, model, terms, sources):
    """Return the arguments of a card that name the network and what it learnt from.

    Parameters
    ----------
    recipe : dataclass
        Its `name`, `builder` and `network`.
    model : keras.Model
    terms : dict of str to calzoo.weights.card.TrainingData
        What may be used of each source of data.
    sources : sequence of str
        Where the run's recordings came from.

    Returns
    -------
    dict
    """
    return {
        "builder": recipe.builder,
        "config": dict(recipe.network),
        "parameters": model.count_params(),
        "recipe": recipe.name,
        "data": tuple(terms[source] for source in sources),
        "versions": versions(),
    }
