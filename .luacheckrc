-- How `make check` reads lua/. A file is a part of a script: Rust joins it with others of its folder, and with constants in
-- capitals, so that top-level locals of one are there for the others.

std = 'lua51'
read_globals = { 'redis', 'server', 'cjson', 'cmsgpack', 'bit', 'struct', 'define' }
-- Constants from Rust, what each script is called with, branches that say in a comment why there is nothing to do.
ignore = { '113/[A-Z][A-Z_]*', '212/KEYS', '212/ARGV', '542' }
max_line_length = false
codes = true

-- The files of each folder; the parts in lua/ itself are joined with those of any.
local folders, texts = {}, {}
local listing = io.popen('ls lua/*.lua lua/*/*.lua')
for path in listing:lines() do
  local folder = string.match(path, '^(.*)/')
  folders[folder] = folders[folder] or {}
  table.insert(folders[folder], path)
  local file = io.open(path)
  texts[path] = file:read('*a')
  file:close()
end
listing:close()

local function locals_of(text)
  local names = {}
  for line in string.gmatch(text, '[^\n]+') do
    local name = string.match(line, '^local function ([%w_]+)')
    for each in string.gmatch(name or string.match(line, '^local ([%w_, ]+)') or '', '[%w_]+') do
      names[each] = true
    end
  end
  return names
end

local function uses(text, name)
  return string.find(text, '%f[%w_]' .. name .. '%f[^%w_]') ~= nil
end

files = {}
for folder, paths in pairs(folders) do
  for _, path in ipairs(paths) do
    local own, rules = locals_of(texts[path]), { globals = {}, ignore = {} }
    for other_folder, others in pairs(folders) do
      for _, other in ipairs(others) do
        local joined = other_folder == folder or other_folder == 'lua' or folder == 'lua'
        if other ~= path and joined then
          for name in pairs(locals_of(texts[other])) do
            if not own[name] then table.insert(rules.globals, name) end
          end
          for name in pairs(own) do
            if uses(texts[other], name) then table.insert(rules.ignore, '2../' .. name) end
          end
        end
      end
    end
    files[path] = rules
  end
end
