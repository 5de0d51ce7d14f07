"""The text form of age's keys: Bech32 (BIP 173), without that standard's limit of 90 characters. Pure."""

from __future__ import annotations

_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def decode(text: str, prefix: str) -> bytes:
    """The bytes that `text` stands for; ValueError unless it begins with `prefix` and its checksum is right."""
    lower = text.lower()
    if text not in (lower, text.upper()):
        raise ValueError("upper and lower case are mixed")
    name, _, data = lower.rpartition("1")
    if name != prefix.lower() or len(data) < 6 or not set(data) <= set(_LETTERS):
        raise ValueError(f"it does not begin with {prefix}1, or has other characters than a key")
    values = [_LETTERS.index(letter) for letter in data]
    if _checksum([*(ord(c) >> 5 for c in name), 0, *(ord(c) & 31 for c in name), *values]) != 1:
        raise ValueError("its checksum is wrong: a character is missing or mistyped")
    bits = "".join(f"{value:05b}" for value in values[:-6])
    whole, rest = bits[: len(bits) // 8 * 8], bits[len(bits) // 8 * 8 :]
    if len(rest) > 4 or "1" in rest:
        raise ValueError("it has the wrong length")
    return bytes(int(whole[at : at + 8], 2) for at in range(0, len(whole), 8))


def _checksum(values: list[int]) -> int:
    sum_ = 1
    for value in values:
        top = sum_ >> 25
        sum_ = (sum_ & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            sum_ ^= generator if top >> bit & 1 else 0
    return sum_
