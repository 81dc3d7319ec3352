from typer.testing import CliRunner

from vrt_cli.main import app


def test_train_shows_the_options_of_the_trainer():
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    assert "--minutes" in result.output
    assert "sr-small" in result.output


def test_train_names_the_configurations_that_there_are():
    result = CliRunner().invoke(app, ["train", "super-small"])
    assert result.exit_code == 1
    assert "sr_small" in result.output
    assert "Traceback" not in result.output
