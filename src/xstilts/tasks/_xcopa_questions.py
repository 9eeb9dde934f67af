"""What each of XCOPA's 500 test items asks for, by ``idx``: the cause (c) or the effect (e) of its premise.

The same in all languages and in English COPA. The files of several languages have it wrong, so it is written here as
the Estonian ones have it, which agree with COPA's throughout (Ponti et al. 2020, arXiv 2005.00333;
https://github.com/cambridgeltl/xcopa, CC BY 4.0).
"""

from __future__ import annotations

_ASKED = """
    ceeeccccee cececcecec ceeececccc ccececeeee eecececece ceeeeeeece ceccceccec ccceceeeee eceeccecee cccccccecc
    eeeccccccc ecccecceee cceecececc ecceecceec ccececccec ceececcecc eeccccecce ccceeccecc eceeccecce ceeccceccc
    cceeeceeee ececeececc cceccceeee ceceeceeee ecccccccec ceeecceecc ececcceecc ececeeccee ceeeeeeccc cecceeccce
    ceeceecccc eeceeeecce eeeeececec ccccccceec cceececcce ccecceccee ceceeeecce eceecececc ceeeeeccec eeecccccce
    eeeceeeece eececccece eecceceecc cecceeceee ceeccceeec ececceeecc eceeececcc ceeeeceeee cceceeceee eeeeceeeee
"""

TEST: tuple[str, ...] = tuple({"c": "cause", "e": "effect"}[letter] for letter in "".join(_ASKED.split()))
"""``idx`` → ``cause`` or ``effect``."""
