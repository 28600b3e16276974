/** Reads how many tests passed from the report that `deno test --junit-path` writes. */

/** What one run of `deno test` came to. */
export interface TestCount {
  passed: number;
  failed: number;
  skipped: number;
  /** One line for each failed test: its name and file. */
  failures: string[];
}

/** Counts whole tests; a step belongs to the test it is part of. An empty report counts nothing. */
export function countTests(report: string): TestCount {
  const cases = [...report.matchAll(
    /<testcase name="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g,
  )].map(([, name = "", file = "", body = ""]) => ({ name, file, body }));
  const names = new Set(cases.map(({ name, file }) => `${file}\n${name}`));

  const count: TestCount = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for (const { name, file, body } of cases) {
    if (isStep(name, (parent) => names.has(`${file}\n${parent}`))) continue;
    if (body.includes("<failure") || body.includes("<error")) {
      count.failed++;
      count.failures.push(`${unescapeXml(name)} (${file})`);
    } else if (body.includes("<skipped")) {
      count.skipped++;
    } else {
      count.passed++;
    }
  }
  return count;
}

const STEP_SEPARATOR = " &gt; ";

function isStep(name: string, isTest: (name: string) => boolean): boolean {
  for (
    let end = name.indexOf(STEP_SEPARATOR);
    end !== -1;
    end = name.indexOf(STEP_SEPARATOR, end + 1)
  ) {
    if (isTest(name.slice(0, end))) return true;
  }
  return false;
}

function unescapeXml(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'").replaceAll("&amp;", "&");
}
