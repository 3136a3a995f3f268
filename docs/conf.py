"""How Sphinx builds this documentation: `python -m sphinx -W -b html docs docs/_build`. Nothing is fetched."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from airflow_provider_mlops import __version__

project = "airflow-provider-mlops"
author = "The airflow-provider-mlops developers"
copyright = "2026, " + author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "api_reference",
    "mathml",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Airflow's and MLflow's own sites are linked by address: an inventory would have to be downloaded.
# Attributes of several classes have the same name; autodoc cannot know which one a docstring means.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "airflow-provider-mlops"
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "native"

html_math_renderer = "mathml"

# A name in single backquotes is code, in docstrings, too.
default_role = "code"
napoleon_google_docstring = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
add_module_names = False
