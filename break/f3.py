from lib import *; from proxy import P
# F: existing connections black-holed (old primary gone without RST), new ones work at once
for kind,port,pp in (('my',23307,24011),):
    url=newdb(kind,'brk_f').replace(f':{port}',f':{pp}'); p=P(pp,port); s=Svc(url,'--database-connections','4')
    with ThreadPoolExecutor(64) as ex: list(ex.map(lambda i:s.call(f'a{i}@x',f'1{i}'),range(600)))
    print(kind,'connections',len(p.conns)); p.blackhole(); t0=time.time(); ok=None; n=0; codes={}
    while time.time()-t0<30:
        with ThreadPoolExecutor(12) as ex: r=list(ex.map(lambda i:s.call(f'a{i}@x',f'1{i}',timeout='5S') if i%3 else s.call(f'w{time.time_ns()}{i}@x',None,timeout='5S'),range(12)))
        for x in r: codes[x[0]]=codes.get(x[0],0)+1
        if all(x[0]==200 for x in r): ok=time.time()-t0; break
        n+=1
    print(kind,'recovered after',ok,'s; codes',codes,'connections opened since',len(p.conns),'readyz',s.get('/readyz'))
    s.stop()
