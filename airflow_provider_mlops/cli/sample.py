"""`airflow-mlops sample`: write synthetic datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airflow_provider_mlops import extras
from airflow_provider_mlops.cli.options import with_fields_of
from airflow_provider_mlops.data.samples.customers import CustomersSample


@with_fields_of(CustomersSample, {})
def customers(
    sample: CustomersSample,
    directory: Annotated[
        Path, typer.Option(help="Directory for the files.", file_okay=False, metavar="DIRECTORY")
    ] = Path("."),
) -> None:
    """Write a dataset of customers over 24 months.

    The file customers.parquet has numbers, categories, dates and nulls, the label `churned`, the time `label_at` at
    which it became known, and a reward per offer. Prices rise in month 18. The file customers_truth.parquet has the
    true churn probabilities and expected rewards of each customer.
    """
    extras.require("The command sample", "data")
    for path in sample.write(directory):
        typer.echo(f"Wrote {path}: {sample.rows:,} rows, {path.stat().st_size / 2**20:.1f} MiB")
