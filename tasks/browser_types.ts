import ts from "typescript";

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  isolatedDeclarations: true,
};

/** Where a declaration is. */
interface Place {
  readonly url: string;
  readonly name: string;
}

/** What one source file declares and what it takes from others, by the names it uses. */
interface Declared {
  readonly source: ts.SourceFile;
  readonly own: Map<string, ts.Statement[]>;
  readonly others: Map<string, Place>;
}

/**
 * The types of what a module exports as one file of declarations: those, and the declarations that
 * they name. How an instance is made that only its class makes is left out.
 *
 * @throws {Error} when a declaration says nothing of its own, two have one name, or one is of a package.
 */
export async function moduleTypes(entry: URL): Promise<string> {
  const files = new Map<string, Declared>();
  const wanted = new Map<string, Place>();
  const printed: string[] = [];

  const load = async (url: string) => {
    const known = files.get(url);
    if (known) return known;
    const loaded = declaredIn(url, await Deno.readTextFile(new URL(url)));
    files.set(url, loaded);
    return loaded;
  };

  const want = async ({ url, name }: Place): Promise<void> => {
    const before = wanted.get(name);
    if (before?.url === url) return;
    if (before) throw new Error(`${name} is declared in ${before.url} and in ${url}`);
    const file = await load(url);
    const elsewhere = file.others.get(name);
    if (elsewhere && !file.own.has(name)) return await want(elsewhere);
    const statements = file.own.get(name);
    if (!statements) throw new Error(`${url} does not declare ${name}`);
    wanted.set(name, { url, name });
    for (const statement of statements) {
      const shown = withoutMaking(statement);
      printed.push(print(shown, file.source));
      for (const used of namesIn(shown)) {
        const place = file.others.get(used) ??
          (file.own.has(used) ? { url, name: used } : undefined);
        if (place) await want(place);
      }
    }
  };

  const { others } = await load(entry.href);
  for (const place of others.values()) await want(place);
  const exported = [...others.values()].map(({ name }) => name).toSorted();
  return `${printed.join("\n")}\nexport { ${exported.join(", ")} };\n`;
}

function declaredIn(url: string, text: string): Declared {
  const { outputText, diagnostics = [] } = ts.transpileDeclaration(text, {
    fileName: url,
    reportDiagnostics: true,
    compilerOptions: OPTIONS,
  });
  const [problem] = diagnostics;
  if (problem) {
    throw new Error(`${url}: ${ts.flattenDiagnosticMessageText(problem.messageText, " ")}`);
  }
  const source = ts.createSourceFile("types.d.ts", outputText, ts.ScriptTarget.ESNext, true);
  const own = new Map<string, ts.Statement[]>();
  const others = new Map<string, Place>();
  const add = (name: string, statement: ts.Statement) =>
    own.set(name, [...own.get(name) ?? [], statement]);
  const take = (from: ts.Expression | undefined, local: string, name = local) => {
    if (!from || !ts.isStringLiteral(from)) return;
    others.set(local, { url: new URL(from.text, url).href, name });
  };
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement)) {
      const bindings = statement.importClause?.namedBindings;
      if (!bindings || !ts.isNamedImports(bindings)) continue;
      for (const { name, propertyName } of bindings.elements) {
        take(statement.moduleSpecifier, name.text, propertyName?.text);
      }
    } else if (ts.isExportDeclaration(statement)) {
      const clause = statement.exportClause;
      if (!clause || !ts.isNamedExports(clause)) continue;
      for (const { name } of clause.elements) take(statement.moduleSpecifier, name.text);
    } else if (ts.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations) {
        if (ts.isIdentifier(name)) add(name.text, statement);
      }
    } else if (
      ts.isClassDeclaration(statement) || ts.isInterfaceDeclaration(statement) ||
      ts.isTypeAliasDeclaration(statement) || ts.isFunctionDeclaration(statement)
    ) {
      if (statement.name) add(statement.name.text, statement);
    }
  }
  return { source, own, others };
}

/** A protected constructor without what it takes, which is nobody else's. */
function withoutMaking(statement: ts.Statement): ts.Statement {
  if (!ts.isClassDeclaration(statement)) return statement;
  const isProtected = (member: ts.ClassElement) =>
    ts.canHaveModifiers(member) &&
    ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.ProtectedKeyword);
  const members = statement.members.flatMap((member) => {
    if (!isProtected(member)) return [member];
    if (!ts.isConstructorDeclaration(member)) return [];
    return [ts.factory.updateConstructorDeclaration(member, member.modifiers, [], undefined)];
  });
  const { modifiers, name, typeParameters, heritageClauses } = statement;
  return ts.factory.updateClassDeclaration(
    ...[statement, modifiers, name, typeParameters, heritageClauses, members] as const,
  );
}

function namesIn(node: ts.Node): Set<string> {
  const names = new Set<string>();
  const visit = (each: ts.Node) => {
    if (ts.isIdentifier(each)) names.add(each.text);
    ts.forEachChild(each, visit);
  };
  visit(node);
  return names;
}

/** The statement without `export`: what is exported is said once, at the end. */
function print(statement: ts.Statement, source: ts.SourceFile): string {
  const text = ts.createPrinter().printNode(ts.EmitHint.Unspecified, statement, source);
  return text.replace(/^((?:\s*\/\*\*[^]*?\*\/)*\s*)export /, "$1");
}
