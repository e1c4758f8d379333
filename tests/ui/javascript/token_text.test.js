// How tokens are said, and the stripes of their experts.

import assert from "node:assert/strict";
import test from "node:test";
import { stripes } from "../../../explorer/ui/components/token_text/stripes.js";
import { expertWords, spoken } from "../../../explorer/ui/components/token_text/words.js";

test("blanks have names for those who hear the text", () => {
  assert.equal(spoken(" the"), "space the");
  assert.equal(spoken("a\n\tb"), "a line break tab b");
  assert.equal(spoken("\ufffd"), "part of a letter");
  assert.equal(spoken(""), "empty");
});

test("experts in words", () => {
  assert.deepEqual([[], [3], [3, 1]].map(expertWords), ["no expert", "expert 3", "experts 3, 1"]);
});

test("stripes are as wide as their gates", () => {
  assert.equal(
    stripes(["red", "blue"], [75, 25]),
    "linear-gradient(to right, red 0.0% 75.0%, blue 75.0% 100.0%)",
  );
  assert.match(stripes(["red", "blue"], undefined), /red 0\.0% 50\.0%/);
  assert.match(stripes(["red"], [0]), /red 0\.0% 0\.0%/);
  assert.equal(stripes([], undefined), "none");
});
