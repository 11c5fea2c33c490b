import { afterEach, describe, expect, test, vi } from 'vitest'
import { api } from '../src/lib/api'

/** Alerts of the incident of a12, newest first, five on a page. */
const at = (n: number) => new Date(Date.UTC(2026, 10, 22) + n * 600_000).toISOString()
const alert = (n: number) => ({ id: `a${n}`, opened_at: at(n), incident: 'a12' })

function serve(newest: number): string[] {
  const asked: string[] = []
  vi.stubGlobal('fetch', async (path: string) => {
    asked.push(path)
    if (path.endsWith('/alerts/a12')) return Response.json(alert(12))
    const from = Number(/cursor=(\d+)/.exec(path)?.[1] ?? newest)
    const items = Array.from({ length: 5 }, (_, i) => alert(from - i))
    return Response.json({ items, next_cursor: from > 14 ? String(from - 5) : null })
  })
  return asked
}
afterEach(() => vi.unstubAllGlobals())

describe('the alerts of an incident', () => {
  test('are asked for by its id, page by page, and told by opening after the one that founded it', async () => {
    const asked = serve(19)
    const { alerts, partial } = await api.incident('a12')
    expect(alerts.map(({ id }) => id)).toEqual(['a12', 'a10', 'a11', ...[13, 14, 15, 16, 17, 18, 19].map((n) => `a${n}`)])
    expect([partial, asked.length]).toEqual([false, 1 + 2])
    expect(asked[1]).toContain('state=all&incident=a12')
  })

  test('are told to be incomplete when there are too many pages', async () => {
    const asked = serve(200)
    const { alerts, partial } = await api.incident('a12')
    expect([partial, asked.length, alerts[0]?.id]).toEqual([true, 1 + 5, 'a12'])
  })
})
