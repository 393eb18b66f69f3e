"""Model, rules, routes, and updates of the model over the air."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.bundle import Bundle, load_bundle
from edge.choice import chosen
from edge.classifier import Classifier
from edge.config import Config, where
from edge.decide import Routes, Rules, decide
from edge.errors import BundleError
from edge.places import state_folder
from edge.runtime import Engine
from edge.shipped import default_model
from edge.update.canaries import folders
from edge.update.keeper import Address, ModelKeeper
from edge.update.steps import Plan
from edge.update.store import ModelStore
from edge.values import Crop, Decision


def load_model(config: Config) -> Bundle:
    """The bundle that a configuration names, or the shipped student; raises BundleError."""
    if not config.model.path:
        return load_bundle(default_model())
    try:
        return load_bundle(Path(config.model.path))
    except BundleError as error:
        raise BundleError(f"{where(config, 'model.path')}: {error}") from error


def model_of(config: Config, keeper: ModelKeeper | None = None) -> tuple[Bundle, Engine]:
    """The bundle to start with and how to run it; raises BundleError.

    What `smartbin bench` remembers for this hardware counts for the bundle that is configured or
    shipped; a model that came over the air is int8, and runs as configured.
    """
    plain = Engine(threads=config.model.threads)
    if keeper is not None:
        return keeper.bundle, plain
    if not config.model.choose:
        return load_model(config), plain
    path = Path(config.model.path) if config.model.path else default_model()
    try:
        bundle, engine = chosen(path, bench_memory())
    except BundleError:
        return load_model(config), plain  # which says where the fault stands
    return bundle, engine or plain


def bench_memory() -> Path:
    """Where `smartbin bench` remembers what is best here."""
    return state_folder() / "runtime.json"


def rules_of(bundle: Bundle, config: Config) -> Rules:
    """What the bundle has learned, with what the site wants."""
    return Rules(
        labels=bundle.labels,
        thresholds=bundle.thresholds,
        min_margin=bundle.min_margin,
        min_agreement=config.decision.min_agreement,
        rejection=bundle.rejection,
    )


def routes_of(config: Config) -> Routes:
    """Where each class goes at this site."""
    return Routes(safe=config.routes.safe, by_label=config.routes.by_class)


def store_path(config: Config) -> Path:
    """Where fetched models lie."""
    return Path(config.update.store) if config.update.store else state_folder() / "models"


def keeper_of(config: Config) -> ModelKeeper | None:
    """Updates over the air; None where no repository is named."""
    update = config.update
    if not update.url:
        return None

    def judge(bundle: Bundle, classifier: Classifier, crops: Sequence[Crop]) -> Decision:
        votes = [classifier.look(crop) for crop in crops]
        return decide(votes, rules=rules_of(bundle, config), routes=routes_of(config))

    return ModelKeeper(
        store=ModelStore(store_path(config)),
        fallback=lambda: load_model(config),
        address=Address(
            url=update.url,
            root_file=Path(update.root),
            ca_file=update.ca_file,
            group=update.group,
            site=config.site.site,
            bin=config.site.bin,
        ),
        plan=Plan(
            name=update.bundle,
            threads=config.model.threads,
            shadow_items=update.shadow_items,
            trial_items=update.trial_items,
            retry_s=update.retry_s,
            canaries=folders(update.canaries),
        ),
        judge=judge,
    )
