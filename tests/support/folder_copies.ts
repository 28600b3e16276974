/** What backups do to a data folder that no process has open. */

/** Copies a folder: the copies are other files. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isFile } of Deno.readDir(from)) {
    if (isFile) await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

/** Puts a copy back in the place of the folder, as other files. */
export async function replaceFolder(folder: string, copy: string): Promise<void> {
  await Deno.remove(folder, { recursive: true });
  await copyFolder(copy, folder);
}

/** Writes a copy's bytes into the files that are there, so that nothing in the folder shows it. */
export async function overwriteFolder(folder: string, copy: string): Promise<void> {
  for await (const { name, isFile } of Deno.readDir(copy)) {
    if (!isFile) continue;
    const before = await Deno.stat(`${folder}/${name}`);
    await Deno.writeFile(`${folder}/${name}`, await Deno.readFile(`${copy}/${name}`));
    const after = await Deno.stat(`${folder}/${name}`);
    if (after.ino !== before.ino) throw new Error(`${name} became another file`);
  }
}
