import { CairnError } from "../base/errors.ts";
import { type Role, role, ROLES } from "./option_values.ts";

/** The role that an operand names, or all of them. @throws {CairnError} `invalid-option`. */
export function parseRoleArgument(text: string | undefined): readonly Role[] {
  if (text === undefined) return ROLES;
  const named = role.parse(text);
  if (named !== undefined) return [named];
  throw new CairnError(
    "invalid-option",
    `ROLE: "${text}" is not right; expected ${role.expected}`,
  );
}
