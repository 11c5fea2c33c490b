/** The chosen language and theme, remembered in the browser, and `t(code, params)`. */
import { number } from '../format'
import { en } from './en'
import { compose, type Message, type Params } from './message'
import { ru } from './ru'
import { tk } from './tk'

export type Key = keyof typeof en
export type Lang = 'en' | 'ru' | 'tk'
export type Theme = 'system' | 'light' | 'dark'

export const TABLES: Record<Lang, Record<Key, Message>> = { en, ru, tk }
export const LANGUAGES: Record<Lang, string> = { en: 'English', ru: 'Русский', tk: 'Türkmençe' }
export const THEMES: readonly Theme[] = ['system', 'light', 'dark']

/** Locales for numbers, dates and plurals; a browser without Turkmen falls back to the Russian habits next to it. */
export const LOCALES: Record<Lang, string[]> = { en: ['en-GB'], ru: ['ru'], tk: ['tk', 'ru'] }

const remembered = <T extends string>(key: string, allowed: readonly T[]): T | undefined => {
  try {
    return allowed.find((value) => value === localStorage.getItem(key))
  } catch {
    return undefined // storage is switched off: the choice lasts as long as the page
  }
}
const remember = (key: string, value: string): void => {
  try {
    localStorage.setItem(key, value)
  } catch {
    // see above
  }
}

const langs = Object.keys(TABLES) as Lang[]
const preferred = (): Lang => langs.find((lang) => globalThis.navigator?.language?.startsWith(lang)) ?? 'en'

class Preferences {
  lang = $state<Lang>(remembered('lang', langs) ?? preferred())
  theme = $state<Theme>(remembered('theme', THEMES) ?? 'system')

  /** Whether single letters do things; who speaks to the computer may want them off (WCAG 2.1.4). */
  shortcuts = $state(remembered('shortcuts', ['on', 'off']) !== 'off')

  setShortcuts(on: boolean): void {
    this.shortcuts = on
    remember('shortcuts', on ? 'on' : 'off')
  }

  setLang(lang: Lang): void {
    this.lang = lang
    remember('lang', lang)
  }

  setTheme(theme: Theme): void {
    this.theme = theme
    remember('theme', theme)
  }
}

export const prefs = new Preferences()

const rules: Record<Lang, Intl.PluralRules> = {
  en: new Intl.PluralRules('en'),
  ru: new Intl.PluralRules('ru'),
  tk: new Intl.PluralRules('tk'),
}

const digits = (n: number): string => number(n, LOCALES[prefs.lang])

export const t = (key: Key, params: Params = {}): string => compose(TABLES[prefs.lang][key], params, rules[prefs.lang], digits)

/** The text for a code that comes from the server, or `fallback` if this console does not know it yet. */
export const tCode = (prefix: string, code: string, fallback: string, params: Params = {}): string => {
  const key = `${prefix}.${code}`
  return key in en ? t(key as Key, params) : fallback
}
