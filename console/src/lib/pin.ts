/** One alert, or one incident by the alert that founded it, in place of the list; the address bar names it. */
export interface Pin {
  kind: 'alert' | 'incident'
  id: string
}

/** What `#alert/<id>` or `#incident/<id>` asks for; null for any other hash. */
export function pinOf(hash: string): Pin | null {
  const found = /^#(alert|incident)\/([\w-]{1,64})$/.exec(hash)
  return found ? { kind: found[1] as Pin['kind'], id: found[2] as string } : null
}
