import { afterEach, describe, expect, test, vi } from 'vitest'
import { api } from '../src/lib/api'

/** Alerts newest first, one in ten minutes, five on a page; those with an even number from ten on belong to the incident. */
const founded = 12
const at = (n: number) => new Date(Date.UTC(2026, 10, 22) + n * 600_000).toISOString()
const alert = (n: number) => ({ id: `a${n}`, opened_at: at(n), retrospective: false, incident: n % 2 || n < 10 ? '' : `a${founded}` })

function serve(newest: number): string[] {
  const asked: string[] = []
  vi.stubGlobal('fetch', async (path: string) => {
    asked.push(path)
    const one = /\/alerts\/a(\d+)$/.exec(path)
    if (one) return Response.json(alert(Number(one[1])))
    const from = Number(/cursor=(\d+)/.exec(path)?.[1] ?? newest)
    const items = Array.from({ length: 5 }, (_, i) => alert(from - i)).filter((a) => Number(a.id.slice(1)) >= 0)
    return Response.json({ items, next_cursor: from > 4 ? String(from - 5) : null })
  })
  return asked
}
afterEach(() => vi.unstubAllGlobals())

describe('the alerts of an incident', () => {
  test('are fetched page by page until half an hour before it began, and no further', async () => {
    const asked = serve(22)
    const { alerts, partial } = await api.incident(`a${founded}`)
    expect(alerts.map(({ id }) => id)).toEqual(['a12', 'a10', 'a14', 'a16', 'a18', 'a20', 'a22'])
    expect([partial, asked.length]).toEqual([false, 1 + 3])
    expect(asked[1]).toContain('state=all&retrospective=false')
  })

  test('are told to be incomplete when there are too many pages', async () => {
    const asked = serve(200)
    const { alerts, partial } = await api.incident(`a${founded}`)
    expect([partial, asked.length, alerts[0]?.id]).toEqual([true, 1 + 5, `a${founded}`])
  })
})
