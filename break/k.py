from lib import *; import sqlite3,stat,glob
# K: logs at trace; sqlite perms
os.umask(0o022)
for f in glob.glob('/tmp/brk/k.db*'): os.remove(f)
for kind,url in (('sqlite','sqlite:///tmp/brk/k.db?mode=rwc'),('pg',newdb('pg','brk_k')),('my',newdb('my','brk_k'))):
    s=Svc(url,log='trace'); s2=Svc(url,log='trace,sqlx=trace')
    for i in range(3): s.call('secretmail@hidden.example','4917012345678'); 
    with ThreadPoolExecutor(16) as ex: list(ex.map(lambda i:(s if i%2 else s2).call(f'secretmail{i//4}@hidden.example',f'49170123456{i//3}'),range(200)))
    s.call('secretmail@@','secretphone'); s.call('secretmail@hidden.example','x')
    # grpc too
    for t in (s,s2):
        L=t.log(); hits=[l for l in L.splitlines() if 'secretmail' in l or '4917012345' in l or 'hidden.example' in l]
        targets={}; 
        for l in hits:
            m=re.search(r'"target":"([^"]+)"',l); targets[m[1] if m else '?']=targets.get(m[1] if m else '?',0)+1
        print(kind,'lines',L.count('\n'),'leaks',targets,[h[:300] for h in hits[:1]])
    if kind=='sqlite':
        for f in glob.glob('/tmp/brk/k.db*'): print(f,oct(os.stat(f).st_mode))
    s.stop(); s2.stop()
