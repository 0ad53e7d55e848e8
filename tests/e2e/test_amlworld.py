"""The AMLworld command, as a user types it, on a file in that format with laundering that the test itself planted."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest

HEADER = (
    "Timestamp,From Bank,Account,To Bank,Account,Amount Received,Receiving Currency,Amount Paid,Payment Currency,"
    "Payment Format,Is Laundering"
)
BEGIN = datetime(2022, 9, 1)


def run(root, *arguments):
    command = [sys.executable, str(root / "benchmarks" / "amlworld.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=root)


def write(folder, *, seed=3, dense=6_000, schemes=60):
    """Ten days of payments; fans of eight into one account within hours, which pays on at once; then five days with little
    but laundering. Formats mean nothing here, so both protocols have the same to go by."""
    rng = np.random.default_rng(seed)

    def line(minute, payer, payee, amount, laundering):
        at = BEGIN + timedelta(minutes=int(minute))
        bank = [f"0{10 + a % 7}" for a in (payer, payee)]
        form = ("ACH", "Wire", "Cheque", "Credit Card")[rng.integers(4)]
        money = f"{amount:.2f},{'Euro' if payer % 5 == 0 else 'US Dollar'}"
        return f"{at:%Y/%m/%d %H:%M},{bank[0]},8{payer:05X},{bank[1]},8{payee:05X},{money},{money},{form},{laundering}"

    rows = [
        (minute, line(minute, *rng.integers(0, 900, 2), rng.gamma(2, 300), 0))
        for minute in rng.integers(0, 14_400, dense)
    ]
    patterns, planted = [], 0
    begins = np.concatenate([rng.integers(0, 14_000, schemes), rng.integers(14_400, 21_000, 6)])
    for number, begin in enumerate(np.sort(begins)):
        payers, collector = rng.integers(0, 900, 8), 1_000 + number % 30
        made = [(begin + k * 9, line(begin + k * 9, p, collector, rng.gamma(2, 300), 1)) for k, p in enumerate(payers)]
        last = begin + 100
        lone = (last, line(last, collector, rng.integers(0, 900), 4000, 1))
        patterns += ["BEGIN LAUNDERING ATTEMPT - FAN-IN:  Max 8-degree", *(text for _, text in made),
                     "END LAUNDERING ATTEMPT - FAN-IN", ""]  # fmt: skip
        rows += [*made, lone]
        planted += len(made) + 1
    rows.sort()
    trans = folder / "HI-Tiny_Trans.csv"
    trans.write_text("\n".join([HEADER, *(text for _, text in rows), ""]))
    (folder / "HI-Tiny_Patterns.txt").write_text("\n".join(patterns))
    return trans, len(rows), planted


@pytest.mark.long
@pytest.mark.slow
def test_the_command_finds_what_was_planted_and_says_all_it_promises(root, tmp_path):
    trans, rows, planted = write(tmp_path)
    done = run(root, "--transactions", trans, "--patterns", tmp_path / "HI-Tiny_Patterns.txt", "--seeds", 2,
               "--rounds", 25, "--threads", 1, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["payments"], found["positives"]) == (rows, planted)
    parts = found["parts"]
    assert sum(p["payments"] for p in parts.values()) == rows
    assert [round(p["payments"] / rows, 2) for p in parts.values()] == [0.6, 0.2, 0.2]
    assert found["tail"] == 6 * 9
    paper, honest = found["protocols"]["paper"], found["protocols"]["honest"]
    assert paper["columns"] > honest["columns"] > 150
    for told in (paper, honest):
        assert len(told["seeds"]) == 2
        for seed in told["seeds"]:
            assert seed["f1"] > 0.7 and seed["ap"] > 0.7
            assert seed["f1"] <= seed["best_f1"]
            assert seed["tail_ap"] is not None and seed["dense_ap"] > 4 * parts["test"]["base"]
        kinds = {t["typology"]: t for t in told["typologies"]}
        assert kinds["FAN-IN"]["payments"] == 8 * kinds["(none)"]["payments"]
        assert {q["pooling"] for q in told["queues"]} == {"max", "top_3", "noisy_or"}


def refused(root, monkeypatch, capsys, file):
    """What the command says when it stops; in this process, for a new one takes seconds to begin."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import amlworld

    monkeypatch.setattr(sys, "argv", ["amlworld.py", "--transactions", str(file), "--seeds", "1"])
    with pytest.raises(SystemExit) as stopped:
        amlworld.main()
    assert capsys.readouterr().out == ""
    return str(stopped.value)


@pytest.mark.parametrize("name", ["HI-Small_first1000.csv", "Hipersmall_Trans.csv"])
def test_too_small_a_sample_is_refused_in_plain_words(root, shared, monkeypatch, capsys, name):
    said = refused(root, monkeypatch, capsys, shared / "data" / "ibm_amlworld" / name)
    assert said.startswith("error: ") and "part" in said and "hint: " in said


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_another_file_is_refused(root, tmp_path, monkeypatch, capsys, text):
    (tmp_path / "x_Trans.csv").write_text(text)
    said = refused(root, monkeypatch, capsys, tmp_path / "x_Trans.csv")
    assert said.startswith("error: ") and "x_Trans.csv" in said
