"""What several tests share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CT, from LIVER_CT_REAL_DATA or beside the repository; skips where absent."""
    folder = Path(os.environ.get("LIVER_CT_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real CT here: set LIVER_CT_REAL_DATA to the folder that holds it")
    return folder
