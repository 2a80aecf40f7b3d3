from revlm.recipe import recipe_schema


def test_the_schema_knows_the_short_form_of_a_stream():
    stream = recipe_schema()["$defs"]["Data"]["properties"]["stream"]
    assert {"type": "string", "minLength": 1} in stream["anyOf"]


def test_the_schema_documents_every_key():
    schema = recipe_schema()
    assert schema["required"] == ["data"]
    for name, section in schema["$defs"].items():
        assert section["additionalProperties"] is False
        for key, described in section["properties"].items():
            assert described.get("description"), f"{name}.{key}"
