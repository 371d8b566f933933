"""The tables by which datasets are found; they belong to :mod:`fedproc.central.db.schema`."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from fedproc.central.db.metadata import metadata

datasets = Table(
    "datasets",
    metadata,
    Column("host", ForeignKey("hosts.id"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("version", Text, nullable=False),
    Column("label", Text, nullable=False, default=""),
    Column("description", Text, nullable=False, default=""),
    Column("files", BigInteger),
    Column("size", BigInteger),
    Column("catalogue", Text),
    Column("persons", BigInteger),
    Column("modality", JSON),
    Column("body_part", JSON),
    Column("kinds", JSON(none_as_null=True)),
    Column("title", Text),
    Column("creators", JSON(none_as_null=True)),
    Index("ix_datasets_catalogue", "catalogue"),
)
"""What the hosts offer, as their last heartbeats say: a copy to be found in. ``catalogue``: an IRI of its entry in a
catalogue outside. ``persons``, ``modality``, ``body_part``: what the description of its images says.
``kinds``: what it holds (images, tables, files); none where its host does not say it."""

dataset_terms = Table(
    "dataset_terms",
    metadata,
    Column("term", Text, primary_key=True),
    Column("host", String(31), primary_key=True),
    Column("dataset", String(64), primary_key=True),
    Index("ix_dataset_terms_host_dataset", "host", "dataset"),
)
"""What a dataset can be filtered by: ``column=age``, ``modality=ct``, ``body_part=breast``, ``kind=images``, in lower
case. In the order of the primary key those with one term follow in the order in which datasets are listed."""

dataset_columns = Table(
    "dataset_columns",
    metadata,
    Column("host", String(31), primary_key=True),
    Column("dataset", String(64), primary_key=True),
    Column("page", Integer, primary_key=True),
    Column("pages", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("imaging", JSON),
)
"""Pages of what the descriptions of a host's datasets say of columns, as its heartbeats bring them one by one."""
