/**
 * What texts of one language are made of. In a template `{name}` is an entry of a list and `[a|b|]` one of some wordings,
 * the last of which may be nothing.
 */
export interface Grammar {
  /** Entries, parted by `|`. */
  lists: Readonly<Record<string, string>>;
  templates: readonly string[];
}

export interface Material {
  zh: Grammar;
  en: Grammar;
}
