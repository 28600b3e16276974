/** The six digits of a SAS as two groups, which people compare more easily. */
export function spacedSas(sas: string): string {
  return `${sas.slice(0, 3)} ${sas.slice(3)}`;
}
