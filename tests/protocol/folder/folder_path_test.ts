import { equal, ok } from "node:assert/strict";
import {
  conflictPath,
  deviceLabel,
  foldersOf,
  pathFault,
  windowsFault,
} from "../../../src/protocol/folder/folder_path.ts";
import { IgnoreRules } from "../../../src/protocol/folder/ignore_rules.ts";

const WHEN = Date.UTC(2026, 10, 21, 14, 3, 59);

Deno.test("pathFault lets through what names a file below the folder, in any language", () => {
  for (const path of ["a", "a/b.txt", "…/ö.txt", ".hidden", "a b", "..a", "a..", "x:y"]) {
    equal(pathFault(path), undefined, path);
  }
});

Deno.test("pathFault refuses what leads elsewhere, is the program's own, or no disk could keep", () => {
  const long = "x".repeat(241);
  const deep = Array(65).fill("d").join("/");
  for (
    const path of [
      "",
      "/etc/passwd",
      "..",
      "../x",
      "a/../../x",
      "a/./b",
      "a//b",
      "a/",
      "a\\b",
      "a\0b",
      "a\nb",
      "\x7f",
      "\ud800",
      ".cairn-folder",
      "a/.cairn-1.part",
      "a/.CAIRN-1.part",
      ".cairnignore",
      ".CairnIgnore",
      long,
      deep,
      Array(5).fill("x".repeat(240)).join("/"),
    ]
  ) {
    ok(pathFault(path), JSON.stringify(path));
  }
});

Deno.test("windowsFault names what Windows would take for something else", () => {
  for (const path of ["con", "a/NUL.txt", "com1", "a.", "a ", "a:b", "a?b"]) {
    ok(windowsFault(path), path);
  }
  equal(windowsFault("console/company.txt"), undefined);
});

Deno.test("conflictPath says whose the file was, and when, and keeps its extension", () => {
  const tail = "(conflict phone 2026-11-21 14.03)";
  equal(conflictPath("a.b/notes.tar.gz", "phone", WHEN), `a.b/notes.tar ${tail}.gz`);
  equal(conflictPath(".profile", "phone", WHEN), `.profile ${tail}`);
  equal(conflictPath("d/README", "phone", WHEN), `d/README ${tail}`);
});

Deno.test("conflictPath makes a name that can be kept, whatever it was", () => {
  const below = Array(4).fill("d".repeat(240)).join("/");
  for (
    const path of [
      `${below}/${"x".repeat(30)}`,
      "ö".repeat(120),
      `${"d/".repeat(60)}${"é".repeat(110)}.jpeg`,
    ]
  ) {
    equal(pathFault(path), undefined);
    const aside = conflictPath(path, "d".repeat(32), WHEN);
    equal(pathFault(aside), undefined, aside);
    ok(aside.includes("(conflict "));
  }
});

Deno.test("deviceLabel leaves nothing in a name that could mislead", () => {
  equal(deviceLabel("Anna's phone"), "Anna's phone");
  equal(deviceLabel("../../etc"), "....etc");
  equal(deviceLabel(" /\0 "), "device");
  equal(deviceLabel(deviceLabel("x".repeat(31) + "ö")), "x".repeat(31));
});

Deno.test("foldersOf names the folders on the way, the outermost first", () => {
  equal(foldersOf("a/b/c").join(), "a,a/b");
  equal(foldersOf("a").join(), "");
});

Deno.test("IgnoreRules leaves out what its lines match, and what lies below", () => {
  const rules = new IgnoreRules("# backups\n*~\nbuild/\n/top.txt\ndocs/**/draft?.md\n[x].txt\n");
  for (
    const path of [
      "a~",
      "d/b~",
      "build/x",
      "d/build/y/z",
      "top.txt",
      "docs/draft1.md",
      "docs/a/b/draft2.md",
      "d/[x].txt",
    ]
  ) ok(rules.ignores(path), path);
  for (const path of ["a~b", "build", "d/top.txt", "docs/draft10.md", "x.txt", "docs/a/draft.md"]) {
    ok(!rules.ignores(path), path);
  }
  ok(rules.ignoresFolder("build"));
  ok(!new IgnoreRules("").ignores("anything"));
});
