from lib import *
# D: lanes killed by a panic
url=newdb('pg','brk_d'); s=Svc(url,log='info')
print(show(s.call('a@x','1'))); print(show(s.call('b@x','2')))
pg(15432,'''UPDATE "Contact" SET "createdAt"='-infinity' WHERE id=1''',db='brk_d')
for i in range(6): print('poison',show(s.call('a@x',None,timeout='3S')))
print('other',show(s.call('b@x',None,timeout='3S')), 'readyz',s.get('/readyz'),'healthz',s.get('/healthz'))
print(show(s.call('new@x',None,timeout='3S')))
print([l[:300] for l in s.log().splitlines() if 'panic' in l][:3]); s.stop()
# zero date on mysql
url=newdb('my','brk_d'); s=Svc(url)
print(show(s.call('a@x','1'))); print(show(s.call('b@x','2')))
my(23307,"SET sql_mode=''; UPDATE Contact SET createdAt='0000-00-00' WHERE id=1",db='brk_d')
with ThreadPoolExecutor(30) as ex:
    r=list(ex.map(lambda i: s.call('a@x' if i%10==0 else 'b@x',None,timeout='3S'),range(60)))
print('mysql zero date: b@x failing beside it:',sum(1 for i,x in enumerate(r) if i%10 and x[0]!=200), show(r[0])); s.stop()
