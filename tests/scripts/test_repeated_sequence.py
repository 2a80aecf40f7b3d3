from scripts.repeated_sequence import train_on_repetitions


def test_successor_values_repeat_what_lies_far_beyond_the_window() -> None:
    task = {"half": 128, "vocabulary": 64, "steps": 60, "every": 60}
    with_successors = train_on_repetitions(successor_values=True, **task)[1][60]
    without = train_on_repetitions(successor_values=False, **task)[1][60]
    print(f"of the repeated tokens: {with_successors:.1%} with successor values, {without:.1%} without")
    assert with_successors > 0.9
    assert without < 0.1
