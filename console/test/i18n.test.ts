import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { en } from '../src/lib/i18n/en'
import { compose, parameters, type Message } from '../src/lib/i18n/message'
import { ru } from '../src/lib/i18n/ru'
import { tk } from '../src/lib/i18n/tk'

const tables: Record<string, Record<string, Message>> = { en, ru, tk }
const keys = Object.keys(en).toSorted()

describe.each(['ru', 'tk'])('the texts in %s', (lang) => {
  const table = tables[lang] as Record<string, Message>

  test('exist for every key and for no other', () => {
    expect(Object.keys(table).toSorted()).toEqual(keys)
  })

  test.each(keys)('%s takes the same parameters as in English', (key) => {
    expect(parameters(table[key] as Message)).toEqual(parameters(en[key as keyof typeof en]))
  })
})

describe.each(Object.keys(tables))('plural forms in %s', (lang) => {
  const needed = new Intl.PluralRules(lang).resolvedOptions()
  const table = tables[lang] as Record<string, Message>

  test('cover what the language distinguishes, or say one thing for all', () => {
    const used = new Set(Array.from({ length: 200 }, (_, n) => new Intl.PluralRules(needed.locale).select(n)))
    for (const [key, message] of Object.entries(table)) {
      if (typeof message === 'string' || new Set(Object.values(message)).size === 1 || lang === 'tk') continue
      expect([...used].filter((form) => !(form in message)), key).toEqual([])
    }
  })
})

test.each([
  [1, '1 тревога'],
  [3, '3 тревоги'],
  [5, '5 тревог'],
  [21, '21 тревога'],
  [112, '112 тревог'],
])('%i alerts are counted rightly in Russian', (n, expected) => {
  expect(compose(ru['map.alerts'], { n }, new Intl.PluralRules('ru'))).toBe(expected)
})

test('numbers in a sentence are written as the language does', () => {
  const digits = (n: number) => new Intl.NumberFormat('ru').format(n)
  expect(compose(ru['map.alerts'], { n: 1205 }, new Intl.PluralRules('ru'), digits)).toBe('1\u00a0205 тревог')
})

test('a missing parameter stays visible', () => {
  expect(compose('since {time}', {}, new Intl.PluralRules('en'))).toBe('since {time}')
})

/** Texts for codes that the server sends must exist here: the lists are read from the server's own sources. */
const core = new URL('../../core/', import.meta.url)
const codes = (file: string, pattern: RegExp): string[] =>
  [...readFileSync(new URL(file, core), 'utf8').matchAll(pattern)].map((match) => match[1] as string)

test('every metric of the server has a name', () => {
  const metrics = codes('metrics.py', /Metric\("([a-z0-9_]+)"/g)
  expect(metrics.length).toBeGreaterThan(20)
  expect(metrics.filter((metric) => !(`metric.${metric}` in en))).toEqual([])
})

test('every unit of the server is written in each language', () => {
  const units = [...new Set(codes('metrics.py', /Metric\("[a-z0-9_]+", "([^"]+)"/g))]
  expect(units.length).toBeGreaterThan(10)
  expect(units.filter((unit) => !['%', '°', '°C'].includes(unit) && !(`unit.${unit}` in en))).toEqual([])
})

test('every reason of the server has a sentence', () => {
  const reasons = codes('texts.py', /^ {4}"([a-z.]+)": "/gm)
  expect(reasons.length).toBeGreaterThan(10)
  expect(reasons.filter((reason) => !(`reason.${reason}` in en))).toEqual([])
})

test('every cause of the server has a name and a sentence', async () => {
  const { CAUSES } = await import('../src/lib/types')
  const { codeOf } = await import('../src/lib/evidence')
  const classes = /class Classification[\s\S]*?class /.exec(readFileSync(new URL('alerts.py', core), 'utf8'))?.[0] ?? ''
  expect([...classes.matchAll(/ = "([a-z ]+)"/g)].map((match) => match[1])).toEqual([...CAUSES])
  expect(CAUSES.map(codeOf).filter((cause) => !(`cause.${cause}` in en && `why.${cause}` in en))).toEqual([])
})

test('every field of an evidence card is one that the console reads', () => {
  const card = /class Card\(([\s\S]*?)\nclass /.exec(readFileSync(new URL('alerts.py', core), 'utf8'))?.[1] ?? ''
  const fields = [...card.matchAll(/^ {4}(\w+): (?:int|float|tuple|bool|str)/gm)].map((match) => match[1] as string)
  expect(fields.length).toBeGreaterThan(12)
  const read = readFileSync(new URL('../src/parts/Evidence.svelte', import.meta.url), 'utf8') + readFileSync(new URL('../src/lib/evidence.ts', import.meta.url), 'utf8')
  expect(fields.filter((field) => !new RegExp(`card\\??\\.${field}\\b`).test(read))).toEqual([])
})

test('every quality flag of the server has a name, in the order of its bits', async () => {
  const { QUALITY } = await import('../src/lib/types')
  expect(codes('quality.py', /^ {4}([A-Z]+) = 1 << \d+/gm).map((flag) => flag.toLowerCase())).toEqual([...QUALITY])
  expect(QUALITY.filter((flag) => !(`quality.${flag}` in en))).toEqual([])
})

test('components hold no text of their own', () => {
  const parts = new URL('../src/parts/', import.meta.url)
  const files = readdirSync(parts).filter((name) => name.endsWith('.svelte'))
  expect(files.length).toBeGreaterThan(8)
  for (const file of files) {
    const markup = readFileSync(new URL(file, parts), 'utf8')
      .replace(/<script[\s\S]*?<\/script>/, '')
      .replace(/<!--[\s\S]*?-->/g, '')
      .replace(/<kbd[\s\S]*?<\/kbd>/g, '')
      .replace(/\{[^{}]*\{[^{}]*\}[^{}]*\}/g, '')
      .replace(/\{[^{}]*\}/g, '')
    const words = [...markup.matchAll(/>([^<>{}]*[A-Za-z]{2,}[^<>{}]*)</g)].map((m) => (m[1] as string).trim())
    expect(words.filter((word) => word !== 'urbanpulse' && !word.includes('=')), file).toEqual([])
  }
})
