// Shows openapi.json as a page: operations by tag, their parameters and bodies, and a form to try each one with the
// session of this browser. Text only ever enters the page as text nodes.

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  node.append(...children.filter((child) => child !== null && child !== undefined))
  return node
}

const resolve = (spec, schema) => {
  const name = schema?.$ref?.split('/').pop()
  return name ? (spec.components.schemas[name] ?? {}) : (schema ?? {})
}

const typeOf = (schema) => {
  if (!schema) return 'any'
  if (schema.$ref) return schema.$ref.split('/').pop()
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  const several = schema.anyOf ?? schema.oneOf
  if (several) return several.map(typeOf).join(' | ')
  if (schema.prefixItems) return `[${schema.prefixItems.map(typeOf).join(', ')}]`
  if (schema.type === 'array') return `${typeOf(schema.items)}[]`
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object') {
    return `{string: ${typeOf(schema.additionalProperties)}}`
  }
  return schema.format ? `${schema.type} (${schema.format})` : (schema.type ?? 'any')
}

const refs = (schema, found = new Set()) => {
  if (schema && typeof schema === 'object') {
    if (typeof schema.$ref === 'string') found.add(schema.$ref.split('/').pop())
    for (const part of Object.values(schema)) refs(part, found)
  }
  return found
}

const table = (caption, heads, rows) =>
  make(
    'div',
    { class: 'table', tabindex: '0', role: 'region', 'aria-label': caption },
    make(
      'table',
      {},
      make('thead', {}, make('tr', {}, ...heads.map((head) => make('th', { scope: 'col' }, head)))),
      make('tbody', {}, ...rows.map((row) => make('tr', {}, ...row.map((cell) => make('td', {}, cell))))),
    ),
  )

const fields = (name, schema) =>
  table(
    `Fields of ${name}`,
    ['Field', 'Type', 'Meaning'],
    Object.entries(schema.properties ?? {}).map(([field, part]) => [
      make('code', {}, field),
      make('code', {}, typeOf(part)),
      part.description ?? '',
    ]),
  )

const schemaLink = (schema) => {
  const type = typeOf(schema)
  return schema?.$ref ? make('a', { href: `#schema-${type}` }, type) : make('code', {}, type)
}

const example = (spec, schema) =>
  JSON.stringify(
    Object.fromEntries(
      Object.entries(resolve(spec, schema).properties ?? {}).map(([name, part]) => [
        name,
        part.default ?? (part.type === 'number' || part.type === 'integer' ? 0 : part.anyOf ? null : ''),
      ]),
    ),
    null,
    2,
  )

const STREAM_BYTES = 4000

const read = async (response) => {
  if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return response.text()
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const end = Date.now() + 3000
  while (text.length < STREAM_BYTES && Date.now() < end) {
    const { value, done } = await reader.read()
    if (done) return text
    text += value
  }
  await reader.cancel()
  return `${text}\n(stopped reading: a stream has no end)`
}

const tryForm = (spec, path, verb, operation) => {
  const parameters = operation.parameters ?? []
  const bodySchema = operation.requestBody?.content?.['application/json']?.schema
  const inputs = parameters.map((parameter) => {
    const id = `${operation.operationId}-${parameter.name}`
    return [parameter, make('input', { id, name: parameter.name, autocomplete: 'off', ...(parameter.required ? { required: '' } : {}) })]
  })
  const bodyId = `${operation.operationId}-body`
  const secret = operation.operationId === 'login'
  const body = bodySchema && make('textarea', { id: bodyId, rows: '6', spellcheck: 'false' })
  if (body) body.value = secret ? '{\n  "name": "",\n  "password": ""\n}' : example(spec, bodySchema.anyOf?.[0] ?? bodySchema)
  const status = make('p', { role: 'status' })
  const output = make('pre', { tabindex: '0', 'aria-label': `Answer of ${operation.operationId}`, hidden: '' })
  const form = make(
    'form',
    {},
    ...inputs.map(([parameter, input]) =>
      make('div', {}, make('label', { for: input.id }, parameter.name, parameter.required ? ' (required)' : ''), input),
    ),
    body ? make('div', {}, make('label', { for: bodyId }, 'Body (JSON)'), body) : null,
    make('button', { type: 'submit' }, `Send ${verb.toUpperCase()}`),
    status,
    output,
  )
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    let url = path
    const query = new URLSearchParams()
    const headers = body ? { 'Content-Type': 'application/json' } : {}
    for (const [parameter, input] of inputs) {
      if (input.value === '') continue
      if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value))
      else if (parameter.in === 'query') query.append(parameter.name, input.value)
      else if (parameter.in === 'header') headers[parameter.name] = input.value
    }
    if (query.size) url += `?${query}`
    status.textContent = 'Waiting …'
    try {
      const response = await fetch(url, { method: verb.toUpperCase(), headers, body: body?.value })
      const text = await read(response)
      status.textContent = `${response.status} ${response.statusText} · ${url}`
      try {
        output.textContent = JSON.stringify(JSON.parse(text), null, 2).slice(0, 100_000)
      } catch {
        output.textContent = text.slice(0, 100_000)
      }
      output.hidden = text === ''
      if (['login', 'logout'].includes(operation.operationId)) await whoAmI()
    } catch (error) {
      status.textContent = `No answer: ${error.message}`
    }
  })
  return form
}

const operationBox = (spec, path, verb, operation) => {
  const parameters = operation.parameters ?? []
  const bodySchema = operation.requestBody?.content?.['application/json']?.schema
  const answers = Object.entries(operation.responses ?? {}).map(([status, answer]) => {
    const kinds = Object.entries(answer.content ?? {})
    const cell = make('span')
    kinds.forEach(([kind, { schema }], index) => cell.append(index ? make('br') : '', `${kind} `, schemaLink(schema)))
    return [status, answer.description ?? '', cell]
  })
  return make(
    'details',
    { class: 'operation', id: operation.operationId },
    make(
      'summary',
      {},
      make('h3', {}, make('span', { class: `verb ${verb}` }, verb.toUpperCase()), make('code', {}, path)),
      make('p', { class: 'soft' }, (operation.description ?? operation.summary ?? '').split('\n\n')[0]),
    ),
    make(
      'div',
      { class: 'inside' },
      ...(operation.description ?? '').split('\n\n').slice(1).map((text) => make('p', {}, text)),
      parameters.length ? make('h4', {}, 'Parameters') : null,
      parameters.length
        ? table(
            `Parameters of ${operation.operationId}`,
            ['Name', 'In', 'Type', 'Default', 'Meaning'],
            parameters.map((parameter) => [
              make('code', {}, parameter.name),
              parameter.in,
              make('code', {}, typeOf(parameter.schema)),
              make('code', {}, parameter.required ? 'required' : JSON.stringify(parameter.schema?.default ?? null)),
              parameter.description ?? parameter.schema?.description ?? '',
            ]),
          )
        : null,
      bodySchema ? make('h4', {}, 'Body') : null,
      bodySchema ? make('p', {}, schemaLink(bodySchema.anyOf?.[0] ?? bodySchema)) : null,
      make('h4', {}, 'Answers'),
      table(`Answers of ${operation.operationId}`, ['Status', 'When', 'Body'], answers),
      make('h4', {}, 'Try it'),
      tryForm(spec, path, verb, operation),
    ),
  )
}

const operations = (spec) =>
  Object.entries(spec.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => ({ path, verb, operation, tag: operation.tags?.[0] ?? 'other' })),
  )

const render = (spec, wanted) => {
  const shown = operations(spec).filter(({ path, operation }) =>
    `${path} ${operation.operationId} ${operation.description ?? ''}`.toLowerCase().includes(wanted),
  )
  const tags = [...new Set(shown.map(({ tag }) => tag))]
  const index = document.getElementById('index')
  const main = document.getElementById('main')
  index.replaceChildren()
  main.replaceChildren(make('p', { role: 'status', class: 'soft' }, `${shown.length} operations`))
  for (const tag of tags) {
    const mine = shown.filter((one) => one.tag === tag)
    index.append(
      make('strong', {}, tag),
      make(
        'ul',
        {},
        ...mine.map(({ operation }) => make('li', {}, make('a', { href: `#${operation.operationId}` }, operation.operationId))),
      ),
    )
    main.append(make('h2', {}, tag), ...mine.map((one) => operationBox(spec, one.path, one.verb, one.operation)))
  }
  const schemas = spec.components?.schemas ?? {}
  const used = refs(spec.paths)
  let before
  do {
    before = used.size
    for (const name of [...used]) refs(schemas[name], used)
  } while (used.size > before)
  main.append(make('h2', {}, 'Bodies'))
  for (const [name, schema] of Object.entries(schemas).filter(([name]) => used.has(name)).sort()) {
    main.append(
      make(
        'details',
        { class: 'operation', id: `schema-${name}` },
        make('summary', {}, make('h3', {}, name), make('p', { class: 'soft' }, schema.description ?? '')),
        make('div', { class: 'inside' }, schema.enum ? make('p', {}, make('code', {}, typeOf(schema))) : fields(name, schema)),
      ),
    )
  }
}

const openTarget = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)))
  if (target?.tagName === 'DETAILS') {
    target.open = true
    target.scrollIntoView()
    target.querySelector('summary').focus({ preventScroll: true })
  }
}

const whoAmI = async () => {
  const response = await fetch('/api/v1/me')
  const who = document.getElementById('who')
  who.textContent = response.ok
    ? await response.json().then(({ name, role }) => `You are logged in as ${name} (${role}).`)
    : 'You are not logged in: “login” below does it.'
}

const start = async () => {
  const response = await fetch('/openapi.json')
  const spec = await response.json()
  document.getElementById('about').textContent = `${spec.info.description} Version ${spec.info.version}.`
  const filter = document.getElementById('filter')
  filter.addEventListener('input', () => render(spec, filter.value.trim().toLowerCase()))
  render(spec, '')
  addEventListener('hashchange', openTarget)
  openTarget()
  await whoAmI()
}

start().catch((error) => {
  document.getElementById('main').replaceChildren(make('p', { role: 'alert' }, `This page could not be made: ${error.message}`))
})
