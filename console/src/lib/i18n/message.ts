/** Message tables and how one message becomes a sentence. No state here: see `index.svelte.ts`. */

/** Forms by plural category; `other` is the one that must exist. */
export type Plural = { other: string } & Partial<Record<Intl.LDMLPluralRule, string>>
export type Message = string | Plural
export type Table = Record<string, Message>
export type Params = Record<string, string | number>

/**
 * Put `params` into `message`, numbers written by `digits`; `n` picks the plural form. A parameter that is missing stays
 * visible as `{name}`.
 */
export function compose(message: Message, params: Params, rules: Intl.PluralRules, digits: (n: number) => string = String): string {
  let text: string
  if (typeof message === 'string') text = message
  else text = message[rules.select(Number(params.n ?? 0))] ?? message.other
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = params[name]
    return value === undefined ? whole : typeof value === 'number' ? digits(value) : value
  })
}

/** The parameters that a message takes, sorted; equal in all languages. */
export function parameters(message: Message): string[] {
  const forms = typeof message === 'string' ? [message] : Object.values(message)
  return [...new Set(forms.flatMap((form) => [...form.matchAll(/\{(\w+)\}/g)].map((m) => m[1] as string)))].toSorted()
}
