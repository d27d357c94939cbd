"""The API keeps to its own description, whatever is sent: nothing crashes, answers are as described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from serve_programs import Program, api, put_photo

from nerfscene.serve import limits, scenes

# Derandomized and without a deadline: the same requests each time, and a busy machine can't fail it.
FEW = hypothesis.settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with pytest.MonkeyPatch.context() as patch, api(tmp_path_factory.mktemp("api")) as made:
        for what in limits.PER_HOUR:
            patch.setitem(limits.PER_HOUR, what, 10**6)
        yield made


@pytest.fixture(scope="module")
def described(program: Program) -> Any:
    return schemathesis.openapi.from_dict(program.http.get("/api/openapi.json").json())


def test_answers_are_as_described(described: Any, program: Program) -> None:
    for operation in described.get_all_operations():

        @FEW
        @hypothesis.given(case=operation.ok().as_strategy())
        def keeps_to_it(case: Any) -> None:
            ask(case, program)

        keeps_to_it()


def ask(case: Any, program: Program) -> None:
    """Sends a request, and checks the answer. Raises a failure that shows both."""
    right = case.meta.generation.mode is GenerationMode.POSITIVE
    if right and case.path_parameters and len(repr(case.path_parameters)) % 3:  # most are for what there is
        case.path_parameters.update(there_is(program, case.path_parameters))
    asked = case.as_transport_kwargs(base_url="http://localhost")
    body = asked.get("data")
    answer = program.http.request(
        asked["method"],
        asked["url"],
        params=asked.get("params"),
        json=asked.get("json"),
        content=body if isinstance(body, bytes | str) else None,
        headers={k: v for k, v in dict(asked["headers"]).items() if k.lower() != "authorization"},
    )
    # The first would ask a real address. The second doesn't know that what is well formed can still be
    # refused with 400, such as a title of spaces.
    case.validate_response(answer, excluded_checks=[ignored_auth, positive_data_acceptance])


def there_is(program: Program, wanted: dict[str, Any]) -> dict[str, Any]:
    """Ids of a scene, a job and others, made for one request, which may end them."""
    scene = program.scene()
    job, photo = program.job(scene), put_photo(program, scene, f"{scene.id}.jpg")
    scenes.note(program.shop.db, program.person.id, scene.id, "done")
    person = program.of("guest", scene.id).person.id if "person" in wanted else ""
    ids = {"scene": scene.id, "job": job, "file": photo, "person": person, "number": 1}
    return {name: value for name, value in ids.items() if name in wanted}


def test_the_whole_api_is_asked(program: Program, described: Any) -> None:
    paths = program.http.get("/api/openapi.json").json()["paths"]
    assert described.statistic.operations.total == sum(len(item) for item in paths.values()) > 25
