import pyarrow
import pyarrow.parquet
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.errors import InvalidSpecError


def test_a_parquet_file_is_a_dataset(tmp_path):
    rows = pyarrow.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
    path = str(tmp_path / "rows.parquet")
    pyarrow.parquet.write_table(rows, path)
    dataset = Dataset.model_validate(path)
    assert (dataset.name, dataset.rows) == ("rows", 3)
    assert dataset.arrow().equals(rows)
    assert sorted(dataset.table().a.execute().tolist()) == [1, 2, 3]


def test_a_file_in_the_working_directory_is_read_there(tmp_path, monkeypatch):
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2, 3]}), tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    assert Dataset.at("rows.parquet").arrow().num_rows == 3


@pytest.mark.parametrize("text", ["string", "large_string"])
def test_its_fingerprint_is_that_of_a_dataset_with_the_same_rows(tmp_path, text):
    rows = pyarrow.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
    schema = pyarrow.schema({"a": "int64", "b": text})
    pyarrow.parquet.write_table(rows.cast(schema), tmp_path / "rows.parquet")
    with DatasetWriter(str(tmp_path / "dataset"), "rows") as writer:
        writer.write(rows)
        dataset = writer.commit()
    assert Dataset.at(str(tmp_path / "rows.parquet")).fingerprint == dataset.fingerprint


def test_a_file_written_again_is_another_dataset(tmp_path):
    path = str(tmp_path / "rows.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2, 3]}), path)
    before = Dataset.at(path)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2, 4, 5]}), path)
    with pytest.raises(InvalidSpecError, match="its content changed"):
        _ = before.manifest


def test_a_file_that_is_not_there_or_not_parquet_is_refused(tmp_path):
    with pytest.raises(InvalidSpecError, match="there is no dataset at this URI"):
        Dataset.at(str(tmp_path / "rows.parquet"))
    (tmp_path / "rows.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidSpecError, match="not valid Parquet"):
        Dataset.at(str(tmp_path / "rows.parquet"))
