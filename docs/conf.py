"""How Sphinx builds the site; `make site` gathers the pages first."""

from pathlib import Path

import jupyter_server_mathjax

from liverutils.course.repository import repository_url

project = "Liver CT course"
author = "the authors of the Liver CT course"
project_copyright = author
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
nitpicky = False

# --- Pages and notebooks ------------------------------------------------------------------------
nb_execution_mode = "off"
# The slice viewer is shown as the picture beside it, not as a widget that needs a kernel.
nb_mime_priority_overrides = [["html", "application/vnd.jupyter.widget-view+json", None]]
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # Nothing is loaded from the network.
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "dollarmath", "attrs_block", "colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = True

# --- The package's reference --------------------------------------------------------------------
default_role = "code"
add_module_names = False
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_use_rtype = False

# --- Looks --------------------------------------------------------------------------------------
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_last_updated_fmt = ""
html_theme_options = {
    "repository_url": repository_url(),
    "repository_branch": "main",
    "path_to_docs": "",
    "use_repository_button": True,
    "use_download_button": True,
    "use_source_button": False,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
}

# --- Mathematics without a network --------------------------------------------------------------
MATHJAX = Path(jupyter_server_mathjax.__file__).parent / "static"
html_static_path.append(str(MATHJAX))
mathjax_path = "MathJax.js?config=TeX-AMS-MML_HTMLorMML-full,Safe"
myst_update_mathjax = False  # It would write the settings of a later MathJax.
mathjax2_config = {
    "messageStyle": "none",
    "tex2jax": {
        "ignoreClass": "tex2jax_ignore|mathjax_ignore",
        "processClass": "tex2jax_process|mathjax_process|math|output_area",
    },
    "HTML-CSS": {
        "availableFonts": [],
        "imageFont": None,
        "preferredFont": None,
        "webFont": "STIX-Web",
        "linebreaks": {"automatic": True},
    },
}
