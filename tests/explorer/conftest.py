from collections.abc import Iterator

import pytest

from lficam.model import bundled


@pytest.fixture(scope="module", autouse=True)
def without_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Only what a test has trained is there; the models of the package have tests of their own, in test_photographs.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "FOLDER", tmp_path_factory.mktemp("without"))
        yield
